package pid1

import "github.com/stoker-init/stoker/internal/headroom"

// The init has every thread that it will ever need before a service can start; see headroom.
// With one processor for Go a goroutine has a thread only while it is in a system call: always
// os/signal's and the waiter, at times the loop, the logger, the drainer and two notifiers; one
// thread runs the rest. The others are for those that leave a call and are not idle yet.
const (
	spareThreads = 7
	// initTasks are the threads that have to be made for that: with these the one that
	// makes threads for locked ones, and one that may be busy meanwhile.
	initTasks = spareThreads + 2
	// signalThreads are os/signal's: one that waits, and one that asks for signals.
	signalThreads = 2
	// fewTasks is a limit at which even those may be too many.
	fewTasks = 128
)

// threads are the init's.
type threads struct{ made bool }

// reserve makes the init's threads, and early more of them, if there is room for them
// together with other processes and threads.
func (t *threads) reserve(early, other int) error {
	need := other
	if !t.made {
		need += initTasks + early
	}
	if err := headroom.Tasks(need); err != nil {
		return err
	}
	if !t.made {
		headroom.SpareThreads(spareThreads + early)
		t.made = true
	}
	return nil
}
