package main

import "testing"

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		1 << 30:         "1024 MiB (1073741824 bytes)",
		100 << 10:       "0.1 MiB (102400 bytes)",
		25276514304:     "24105.6 MiB (25276514304 bytes)",
		64<<20 + 64<<10: "64.1 MiB (67174400 bytes)",
	} {
		if got := bytesText(&n, "none"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := bytesText(nil, "none"); got != "none" {
		t.Errorf("nil: %q", got)
	}
}
