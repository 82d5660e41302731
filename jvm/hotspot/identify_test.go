package hotspot

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestIdentifyMaps(t *testing.T) {
	const (
		heap    = "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
		hotspot = "7fb37f400000-7fb37f600000 r--p 00000000 fd:00 5 /usr/lib/jvm/a b/lib/server/libjvm.so\n"
		j9      = "7fb37f400000-7fb37f600000 r-xp 00000000 fd:00 5 /opt/java/lib/default/libj9vm29.so\n"
	)
	for _, c := range []struct {
		maps string
		want error
	}{
		{heap + hotspot + heap, nil},
		{strings.ReplaceAll(hotspot, ".so", ".so (deleted)"), nil}, // the JDK was replaced under it
		{hotspot + j9, ErrOpenJ9},
		{j9 + hotspot, ErrOpenJ9},
		{heap, ErrNotJVM},
		{"", ErrNotJVM},
		{strings.ReplaceAll(hotspot, "libjvm.so", "libjvm.so.bak"), ErrNotJVM},
	} {
		if got, err := identifyMaps(strings.NewReader(c.maps)); err != nil || !errors.Is(got, c.want) {
			t.Errorf("%q: %v, %v, want %v", c.maps, got, err, c.want)
		}
	}
}

func TestIdentifyRealProcesses(t *testing.T) {
	target, _ := startJVM(t, compile(t), 0)
	if err := Identify(target.Pid); err != nil {
		t.Error(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := Identify(cmd.Process.Pid); !errors.Is(err, ErrNotJVM) {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	limited := attachTime(t)
	for s, err := readStatus(cmd.Process.Pid); !s.ended; s, err = readStatus(cmd.Process.Pid) {
		if err != nil || limited.Err() != nil {
			t.Fatalf("the killed process has not ended: %v", err)
		}
	}
	if err := Identify(cmd.Process.Pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("one that is dead: %v", err)
	}
	_ = cmd.Wait()
	if err := Identify(cmd.Process.Pid); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("one that is gone: %v", err)
	}
}
