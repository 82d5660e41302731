package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
)

// playFewDescriptors starts services with a log each until there is no room for more.
func playFewDescriptors(s *stage) int {
	started := 0
	for k := range 60 {
		id := fmt.Sprint("s", k)
		l, err := s.m.Logs.Open(id, logs.Options{Format: logs.FormatPrefix})
		var p *Process
		if err == nil {
			p, err = s.m.Start(context.Background(), Spec{ID: id + ".1", Argv: []string{"/bin/sh", "-c", "exit 7"}, Env: os.Environ(),
				Stdio: Stdio{Mode: Capture, Log: l}})
		}
		if err != nil {
			s.say("%t %t", errors.Is(err, syscall.EMFILE), strings.Contains(err.Error(), "\nhint: the limit of open files is "))
			break
		}
		select {
		case <-p.Exited():
		case <-time.After(10 * time.Second):
			s.say("the end of %s is lost", p.ID())
			return 1
		}
		if code := status(p); code != 7 {
			s.say("%s ended with %d", p.ID(), code)
		}
		started++
	}
	s.say("started some %t, all %t", started > 0, started == 60)
	s.say("without a log: %d", func() int { // it needs no descriptor of the init
		p, err := s.m.Start(context.Background(), Spec{ID: "bare", Argv: []string{"/bin/sh", "-c", "exit 8"}, Env: os.Environ()})
		if err != nil {
			s.say("%v", err)
			return -1
		}
		return status(p)
	}())
	return 0
}

// A start is refused for want of descriptors, or its end is reported.
func TestNoEndIsLostForWantOfDescriptors(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{32, 50, 64, 128, 200} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			r := runPlay(t, "few-descriptors", "-n", fmt.Sprintf("%d:%d", limit, limit))
			r.want(t, "true true", "started some true, all false", "without a log: 8")
			if strings.Contains(r.stderr, "cannot keep") {
				t.Error("the init was sent what it has no room for")
			}
		})
	}
}
