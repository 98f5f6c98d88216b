# What a report of a benchmark says of the machine; read by the scripts beside it.

machine() {
	printf '%s, %s processors, Linux %s, %s' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(uname -r)" "$(go version | cut -d' ' -f3)"
}
