package proc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCommandOutput(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         int
		output       string
	}{
		{"both streams", "echo out; echo err >&2", 0, "out\nerr\n"},
		{"an exit code", "echo $A; exit 3", 3, "b\n"},
		{"a signal", "kill -9 $$", 137, ""},
	} {
		code, output, err := Output(t.Context(), []string{"/bin/sh", "-c", c.script}, []string{"A=b"})
		if code != c.code || output != c.output || err != nil {
			t.Errorf("%s: %d, %q, %v", c.name, code, output, err)
		}
	}
	if _, _, err := Output(t.Context(), []string{"/no/such/program"}, nil); err == nil {
		t.Error("a program that does not exist ran")
	}
	code, output, err := Output(t.Context(), []string{"/bin/sh", "-c", "yes | head -c 3000000; exit 4"}, []string{"PATH=/usr/bin:/bin"})
	if code != 4 || len(output) != maxOutput || err != nil {
		t.Errorf("much output: %d, %d bytes, %v", code, len(output), err)
	}
}

// What does not end in time is killed with all that it has started.
func TestCommandEndsInTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // time enough for the shell to begin
	defer cancel()
	began := time.Now()
	_, output, err := Output(ctx, []string{"/bin/sh", "-c", "echo begun; sleep 60 & sleep 60"}, []string{"PATH=/usr/bin:/bin"})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second || strings.TrimSpace(output) != "begun" {
		t.Errorf("%q, %v after %v", output, err, time.Since(began))
	}
}
