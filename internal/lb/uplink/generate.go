package uplink

//go:generate go tool bpf2go -cc clang -strip llvm-strip -go-package uplink -target bpfel,bpfeb -type flow_state -type flow_kind -type frontend_flag -type backend_flag -type node_flag -type counter packets bpf/uplink.c -- -O2 -mcpu=v3 -Wall -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
