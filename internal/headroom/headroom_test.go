package headroom

import (
	"os"
	"testing"

	"github.com/stoker-init/stoker/internal/procfs"
)

// countTasks leaves nothing behind.
func TestCountTasks(t *testing.T) {
	if n, err := countTasks(20); n != 20 || err != nil {
		t.Errorf("room for %d of 20: %v", n, err)
	}
	for pid, stat := range procfs.TakeSnapshot().Stats {
		if stat.Parent == os.Getpid() && stat.State == 'Z' {
			t.Errorf("%d is left: %+v", pid, stat)
		}
	}
}
