package console

import "testing"

func TestRecordingSizes(t *testing.T) {
	for sizes, want := range map[[2]string]string{
		{"16MiB", "256MiB"}: "", {"64KiB", "64KiB"}: "", {"", ""}: "", {"nonsense", "1"}: "", // the form is checked elsewhere
		{"63KiB", "1GiB"}: "recording.file_size", {"2MiB", "1MiB"}: "recording.total_size",
	} {
		got := ""
		for _, e := range (RecordingConfig{FileSize: sizes[0], TotalSize: sizes[1]}).validate() {
			got += e.Field
		}
		if got != want {
			t.Errorf("%v: %q, want %q", sizes, got, want)
		}
	}
}
