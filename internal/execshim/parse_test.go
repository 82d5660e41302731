package execshim

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseRlimit(t *testing.T) {
	const none = unix.RLIM_INFINITY
	for _, tc := range []struct {
		name, value string
		soft, hard  uint64
		err         string
	}{
		{"nofile", "1024", 1024, 1024, ""},
		{"nofile", "1024:4096", 1024, 4096, ""},
		{"RLIMIT_CORE", "0:unlimited", 0, none, ""},
		{"MemLock", "unlimited", none, none, ""},
		{"stack", "infinity:infinity", none, none, ""},
		{"files", "1", 0, 0, `there is no limit "files"; the limits are as, core, cpu, data`},
		{"nofile", "2:1", 0, 0, "the soft limit of nofile, 2, is above the hard one, 1"},
		{"nofile", "unlimited:5", 0, 0, "is above the hard one"},
		{"as", "4GiB", 0, 0, `"4GiB" is not a limit of as: write a number, SOFT:HARD or "unlimited"; it counts bytes`},
		{"as", "", 0, 0, "is not a limit"}, {"as", "-1", 0, 0, "is not a limit"}, {"as", "+1", 0, 0, "is not a limit"},
		{"as", "1:2:3", 0, 0, "is not a limit"}, {"as", "18446744073709551615", 0, 0, "is not a limit"},
	} {
		got, err := ParseRlimit(tc.name, tc.value)
		switch {
		case tc.err == "" && (err != nil || got.Soft != tc.soft || got.Hard != tc.hard):
			t.Errorf("%s %s: %+v, %v", tc.name, tc.value, got, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s %s: error %v, want %s", tc.name, tc.value, err, tc.err)
		}
	}
}

func TestParseIONice(t *testing.T) {
	for text, want := range map[string]int{"idle": 3 << 13, "best-effort": 2<<13 | 4, "best-effort:0": 2 << 13,
		"best-effort:7": 2<<13 | 7, "realtime:3": 1<<13 | 3, "realtime": 1<<13 | 4} {
		if got, err := ParseIONice(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "idle:1", "best-effort:8", "best-effort:", "best-effort:-1", "rt", "best-effort:07", "Idle"} {
		if got, err := ParseIONice(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestParseCapability(t *testing.T) {
	for name, want := range map[string]Capabilities{"NET_RAW": 1 << 13, "cap_net_raw": 1 << 13, "CAP_CHOWN": 1,
		"checkpoint_restore": 1 << 40, "ALL": AllCapabilities, "all": AllCapabilities} {
		if got, err := ParseCapability(name); err != nil || got != want {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "CAP_", "NET RAW", "13", "CAP_CAP_CHOWN"} {
		if got, err := ParseCapability(name); err == nil {
			t.Errorf("%q is %x", name, got)
		}
	}
	if got := (1<<13 | Capabilities(1)).String(); got != "CHOWN NET_RAW" {
		t.Errorf("named %q", got)
	}
}

func TestParseUmask(t *testing.T) {
	for in, want := range map[string]int{"0027": 0o27, "22": 0o22, "0o77": 0o77, "0": 0, "1000": -1, "8": -1, "": -1, "-1": -1, "0x1": -1} {
		if got, err := ParseUmask(in); err == nil && got != want || (err == nil) != (want >= 0) {
			t.Errorf("ParseUmask(%q) = %o, %v; want %o", in, got, err, want)
		}
	}
}
