package kernel

//go:generate go tool bpf2go -cc clang -strip llvm-strip -go-package kernel -target bpfel,bpfeb -type kind -type name -type entry -type list -type zone -type listen -type counters packets bpf/dns.c -- -O2 -mcpu=v3 -Wall -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
