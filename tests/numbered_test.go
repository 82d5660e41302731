//go:build container

package tests

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"sync"
)

// writerScript writes 10 MB/s of numbered lines of 100 bytes until TERM, and then reports the
// number of lines and the longest write in ms. Writes to /dev/null beside it show what other work
// on the machine adds. It logs the end of each write that took more than 50 ms.
const writerScript = `
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC time);
my ($n, $most, $noise, $long, $over) = (0, 0, 0, 0, 0);
$SIG{TERM} = sub { $over = 1 };
open(my $null, '>', '/dev/null') or die $!;
my $from = clock_gettime(CLOCK_MONOTONIC);
until ($over) {
    my $chunk = join '', map { sprintf("W%012d %085d\n", $n + $_, 0) } 1 .. 50;
    my $t0 = clock_gettime(CLOCK_MONOTONIC);
    for (my $done = 0; $done < length $chunk;) {
        my $wrote = syswrite(STDOUT, $chunk, length($chunk) - $done, $done);
        next if !defined $wrote && $!{EINTR};
        die "cannot write: $!" unless defined $wrote;
        $done += $wrote;
    }
    my $t1 = clock_gettime(CLOCK_MONOTONIC);
    syswrite($null, $chunk);
    my $t2 = clock_gettime(CLOCK_MONOTONIC);
    $n += 50;
    $most = $t1 - $t0 if $t1 - $t0 > $most;
    $noise = $t2 - $t1 if $t2 - $t1 > $noise;
    if ($t1 - $t0 > 0.05) {
        $long++;
        open(my $f, '>>', 'DIR/long') or die $!;
        printf $f "%.6f %.1f\n", time, ($t1 - $t0) * 1000;
    }
    my $ahead = $n * 100 / 10e6 - ($t2 - $from);
    select(undef, undef, undef, $ahead) if $ahead > 0;
}
my $rate = $n * 100 / 1e6 / (clock_gettime(CLOCK_MONOTONIC) - $from);
open(my $report, '>', 'DIR/written') or die $!;
printf $report "%d %.3f %.3f %d %.2f\n", $n, $most * 1000, $noise * 1000, $long, $rate;
`

// numbered checks writerScript's lines on the container's stdout.
type numbered struct {
	mu       sync.Mutex
	last     uint64
	read     uint64 // lines received
	missing  uint64 // gaps
	gaps     int
	repeated uint64 // lines received twice or out of order
	broken   []string
	others   int // lines of other writers
}

// follow reads r to its end.
func (n *numbered) follow(r io.Reader) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		n.line(strings.TrimSuffix(line, "\n"))
	}
}

func (n *numbered) line(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !strings.Contains(line, "0000000000000") && !strings.HasPrefix(line, "W") {
		n.others++
		return
	}
	k, err := uint64(0), error(nil)
	if len(line) == 99 && line[0] == 'W' {
		k, err = strconv.ParseUint(line[1:13], 10, 64)
	}
	switch {
	case k == 0 || err != nil:
		n.broken = append(n.broken, line) // the rest was dropped: one of the missing lines
		return
	case k <= n.last:
		n.repeated++
		return
	case k > n.last+1:
		n.missing += k - n.last - 1
		n.gaps++
	}
	n.last = k
	n.read++
}

func (n *numbered) lastLine() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}
