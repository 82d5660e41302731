//go:build container

package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
)

// damages are how the file of a journal is spoiled, whose records end at end. The steps make a short test.
func damages(t *testing.T, end int) map[string]func(data []byte) []byte {
	cuts, flips := number(t, "STOKER_JOURNAL_CUTS", 8), number(t, "STOKER_JOURNAL_FLIPS", 8)
	out := map[string]func([]byte) []byte{}
	for k := range cuts {
		n := 1 + k*64/cuts
		out[fmt.Sprintf("cut by %d", n)] = func(data []byte) []byte { return data[:end-n] }
		if k%2 == 0 { // a disk that had the length and not the bytes
			out[fmt.Sprintf("zeros in the last %d", n)] = func(data []byte) []byte { clear(data[end-n:]); return data }
		}
	}
	for k := range flips {
		at := end - 1 - k*(end-1)/flips
		out[fmt.Sprintf("bit %d of byte %d", k%8, at)] = func(data []byte) []byte { data[at] ^= 1 << (k % 8); return data }
	}
	return out
}

// A journal that is cut or has a flipped bit makes no job run twice, also if it is submitted again. STOKER_JOURNAL_CUTS (at most 64)
// and STOKER_JOURNAL_FLIPS set how many damages are tried of each kind, at each of three stages.
func TestJobsDamagedJournal(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"ended", "begun", "accepted"} { // the kind of the last record
		t.Run(stage, func(t *testing.T) { t.Parallel(); testDamagedJournal(t, stage) })
	}
}

func testDamagedJournal(t *testing.T, stage string) {
	dir := t.TempDir()
	b := newJobBox(t, dir, "slots: 1")
	specs := []executor.Spec{b.shell("done", "")}
	b.awaitJob(b.submit(specs[0]).ID)
	if stage != "ended" {
		specs = append(specs, b.shell("runs", "[ -e "+dir+"/second ] || exec sleep 98435"))
		b.submit(specs[1])
		await(t, 15*time.Second, "a running job", func() bool { return b.ledger()["runs"] == 1 })
	}
	if stage == "accepted" {
		specs = append(specs, b.shell("waits", ""))
		b.submit(specs[2])
	}
	b.remove()
	write(t, dir+"/second", "", 0o644)
	file := dir + "/jobs/journal/00000001.journal"
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ledger := []byte(b.file("ledger"))
	end := len(bytes.TrimRight(whole, "\x00"))
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.RemoveAll(dir + "/saved"))
	if out, err := exec.Command("cp", "-a", dir+"/jobs", dir+"/saved").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	states, again := map[string]int{}, 0
	for name, spoil := range damages(t, end) {
		must(os.RemoveAll(dir + "/jobs"))
		if out, err := exec.Command("cp", "-a", dir+"/saved", dir+"/jobs").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		must(os.WriteFile(file, spoil(bytes.Clone(whole)), 0o600))
		must(os.WriteFile(dir+"/ledger", ledger, 0o644))
		b := newJobBox(t, dir, "slots: 1")
		for _, spec := range specs {
			job, created, err := b.patient.Submit(t.Context(), spec)
			if err != nil {
				t.Errorf("%s: %s is not accepted again: %v", name, spec.Key, err)
				continue
			}
			if created {
				again++
			}
			states[spec.Key+" "+string(b.awaitJob(job.ID).State)]++
			if n := b.ledger()[spec.Key]; n > 1 {
				state := b.awaitJob(job.ID)
				t.Errorf("%s: %s ran %d times; the journal has %d bytes; created: %t, now %s (%s)", name, spec.Key, n, end, created,
					state.State, state.Reason)
			}
		}
		if st, err := b.client.Status(t.Context()); err != nil || st.Unavailable != "" {
			t.Errorf("%s: the executor is %+v, %v", name, st, err)
		}
		fresh := b.shell("fresh", "")
		if b.wantState(b.submit(fresh).ID, executor.Succeeded); b.ledger()["fresh"] != 1 {
			t.Errorf("%s: another job ran %d times", name, b.ledger()["fresh"])
		}
		b.remove()
		if t.Failed() {
			copies, _ := filepath.Glob(dir + "/jobs/journal/*")
			t.Logf("%s: %q", name, copies)
		}
	}
	t.Logf("%d bytes; %v; %d were accepted anew", end, states, again)
}
