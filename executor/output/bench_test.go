package output

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkCapture has the rate of a job that writes 200 MB to a stream, and of one that
// writes to a cat between two pipes.
func BenchmarkCapture(b *testing.B) {
	const total = 200_000_000
	flood := fmt.Sprintf("yes | head -c %d", total)
	for _, limit := range []int64{mebi, 1 << 30} {
		b.Run(fmt.Sprintf("stream-%dMiB", limit/mebi), func(b *testing.B) {
			b.SetBytes(total)
			for range b.N {
				s, w := begin(b, limit, nil)
				job(b, w, flood)
				if info := end(b, s); info.Bytes != total {
					b.Fatal(info)
				}
				os.Remove(s.path)
			}
		})
	}
	b.Run("cat", func(b *testing.B) {
		b.SetBytes(total)
		for range b.N {
			if err := exec.Command("/bin/sh", "-c", flood+" | cat | cat >/dev/null").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
