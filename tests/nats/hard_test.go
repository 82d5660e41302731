package nats_test

import (
	"context"
	"testing"

	"github.com/stoker-init/stoker/executor"
)

// TestDeliveredAgainWithoutRoom holds that a delivery of a job that is here stays here, also if nothing more can start.
func TestDeliveredAgainWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, fill := range map[string]func(*container) error{
		"other jobs": func(box *container) error {
			_, _, err := box.jobs.Submit(context.Background(), executor.Spec{Command: []string{"hold", "local"}}, "test")
			return err
		},
		"paused":  func(box *container) error { return box.jobs.ControlExecutor(executor.Pause, "test") },
		"drained": func(box *container) error { return box.jobs.ControlExecutor(executor.Drain, "test") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			c := dial(t, s.ClientURL())
			c.setUp(1, nil)
			box := startContainer(t, s.ClientURL(), 2, nil)
			c.submit(`{"command":["hold","one"],"key":"one"}`)
			box.awaitStart("one")
			first := box.reply("one")
			poll(t, "another pull", func() bool { return c.info().NumWaiting == 1 })
			if err := fill(box); err != nil {
				t.Fatal(err)
			}
			if err := c.nc.Publish(first, []byte("-NAK")); err != nil { // as after a lost sign of progress
				t.Fatal(err)
			}
			poll(t, "second delivery", func() bool { return c.info().Delivered.Consumer >= 2 && c.info().NumWaiting == 0 })
			other := startContainer(t, s.ClientURL(), 2, nil)
			poll(t, "the other one waits for a message", func() bool { return c.info().NumWaiting == 1 })
			box.host.release("one")
			want(t, c.await(1), executor.Succeeded)
			if here, there := box.host.starts("one"), other.host.starts("one"); here != 1 || there != 0 {
				t.Errorf("%d starts here and %d there", here, there)
			}
		})
	}
}
