package ebpf

//go:generate go tool bpf2go -cc clang -strip llvm-strip -go-package ebpf -target bpfel,bpfeb -type question -type verdict -type when_empty -type address socket bpf/socket.c -- -O2 -Wall -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
