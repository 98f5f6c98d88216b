#!/usr/bin/env bash
# Runs the benchmarks and writes docs/benchmarks/. The reports hold medians of
# several rounds; run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

. hack/bench-machine.sh

# median NAME UNIT FILE: the median of a benchmark's values in that unit.
median() {
	awk -v name="$1" -v unit="$2" '$1 ~ "^" name "(-[0-9]+)?$" { for (i = 2; i < NF; i++) if ($(i + 1) == unit) print $i }' "$3" |
		sort -g | awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; print v[int((NR + 1) / 2)] }'
}

micros() { awk -v ns="$1" 'BEGIN { printf "%.1f", ns / 1000 }'; }
millis() { awk -v ns="$1" 'BEGIN { printf "%.0f", ns / 1000000 }'; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT

echo "==> one changed EndpointSlice through Build and all compile steps"
go test -run '^$' -bench 'BenchmarkChange' -benchtime 2000x -count 5 ./internal/compile | tee "$out"
echo "==> everything from nothing, and the live heap"
go test -run '^$' -bench 'BenchmarkCold|BenchmarkHeap' -benchtime 1x -count 3 ./internal/compile | tee -a "$out"
{
	cat <<-TXT
		# From Kubernetes objects to what the planes get

		Each change is one EndpointSlice with two new endpoints: parsed, desired.Build, then Compile for load balancing and DNS.
		The clusters have 1,000, 10,000 and 50,000 Services with two endpoints each. Medians of 5 rounds of 2,000
		changes (heap and cold: of 3 rounds). The cost must be flat: a change costs what changed, not what there is.
		What rises is the depth of the maps, a level for 32 times as much (see the allocations per change), and the
		garbage collector, which leads the CPU profile at 50,000 Services (runtime.scanSpan): none of our own functions does.

		Made by \`make bench\` on: $(machine).

	TXT
	for size in 1k 10k 50k; do
		printf 'figure desired-change-%s %s µs\n\n' "$size" "$(micros "$(median "BenchmarkChange/$size" ns/op "$out")")"
	done
	for size in 1k 10k 50k; do
		printf 'figure desired-change-allocations-%s %s allocations\n\n' "$size" "$(median "BenchmarkChange/$size" allocs/op "$out")"
	done
	for size in 1k 10k 50k; do
		printf 'figure desired-cold-%s %s ms\n\n' "$size" "$(millis "$(median "BenchmarkCold/$size" ns/op "$out")")"
	done
	printf 'figure desired-heap-per-service %.0f bytes\n' "$(median BenchmarkHeap B/service "$out")"
} >docs/benchmarks/desired.md
cat docs/benchmarks/desired.md

echo "==> the kernel's part"
go test -run '^$' -bench . -benchtime 1s -count 3 ./internal/lb/ebpf | tee "$out"
{
	cat <<-TXT
		# Services in sockets: the kernel's part

		Output of the benchmarks of internal/lb/ebpf, three rounds: one changed Entry among 1,000, 10,000 and 50,000
		frontends, a cold load, the decision alone, and connect() of a UDP socket, which is nothing but the system call,
		without a program, with one for an address that is no Service, and for a Service.

		Made by \`make bench\` on: $(machine).

	TXT
	sed -n 's/^Benchmark/    Benchmark/p' "$out"
} >docs/benchmarks/sockets.md
cat docs/benchmarks/sockets.md
