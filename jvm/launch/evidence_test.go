package launch

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
)

func TestEvidenceOfJVM(t *testing.T) {
	dir := t.TempDir()
	report := "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb) at pc=0x1, pid=42, tid=43\n#\n# Problematic frame:\n# C  [libc.so.6]\n#\n" +
		"Command Line: -Dmy.password=geheim -Xmx32m Main --token=geheim\nEnvironment Variables:\nDB_PASSWORD=geheim\nPATH=/bin\n"
	if err := os.WriteFile(filepath.Join(dir, "hs_err_pid1073741825.log"), []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	end := incident.End{Pid: 1<<30 + 1, Dir: dir, Started: time.Now().Add(-time.Minute), Exit: &incident.Exit{Code: -1, Signal: 6},
		Argv:   []string{"java", "-Dmy.password=geheim", "-Xmx32m", "Main", "--token=geheim"},
		Output: []byte("before\nFull thread dump X\n\nJNI global refs: 1\nafter\n")}
	var e evidence
	f := e.find(context.Background(), end)
	if f.Cause != incident.CauseJVMCrash || f.Reason != "fatal error in the JVM: SIGSEGV (0xb) at pc=0x1, in C [libc.so.6]" ||
		strings.Join(f.Options, " ") != "java -Dmy.password=*** -Xmx32m Main --token=***" ||
		string(f.ThreadDump) != "Full thread dump X\n\nJNI global refs: 1\n" {
		t.Errorf("%+v", f)
	}
	if len(f.Files) != 1 || f.Files[0].Kind != incident.FileHsErr || strings.Contains(string(f.Files[0].Excerpt), "geheim") ||
		!strings.Contains(string(f.Files[0].Excerpt), "PATH=/bin") || f.Files[0].Size != int64(len(report)) {
		t.Errorf("%+v", f.Files)
	}
	var limits struct {
		CPUs int `json:"effective_cpus"`
	}
	if err := json.Unmarshal(f.Limits, &limits); err != nil || limits.CPUs < 1 {
		t.Errorf("%s: %v", f.Limits, err)
	}
	e.searchMu.Lock() // an earlier look hangs
	f = e.find(context.Background(), end)
	if len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "has not answered") || len(f.Options) != 5 || f.ThreadDump == nil {
		t.Errorf("%+v", f)
	}
}
