//go:build container

package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
)

// jobBox is a box with an executor. Jobs note their starts in a ledger themselves.
type jobBox struct {
	*box
	client  *jobs.Client // reports each lost connection
	patient *jobs.Client
}

// newJobBox starts a box whose journal is a folder in dir, with one idle service.
func newJobBox(t testing.TB, dir, settings string) *jobBox {
	t.Helper()
	b := newBox(t, boxOptions{dir: dir, env: []string{"SECRET_OF_STOKER=1"}, config: fmt.Sprintf(`
main: app
services:
  app: {command: [sleep, "98434"], env: {SECRET_OF_APP: "1"}}
executor: {journal: %s/jobs, %s}
`, dir, settings)})
	client := jobs.Dial(b.socket)
	client.Patience = time.Nanosecond // a test wants to know of each loss
	j := &jobBox{b, client, jobs.Dial(b.socket)}
	if !eventually(10*time.Second, 2*time.Millisecond, func() bool { _, err := client.Status(t.Context()); return err == nil || b.ended() }) ||
		b.ended() {
		t.Fatal("the executor does not answer")
	}
	return j
}

// shell is a job that notes itself and then runs a script; $1 is its name.
func (b *jobBox) shell(name, text string) executor.Spec {
	return executor.Spec{Key: name, Command: []string{"sh", "-c",
		`echo "$STOKER_JOB_ID $1 $$" >>` + b.dir + "/ledger\n" + text, "job", name}}
}

// ledger counts the starts by name.
func (b *jobBox) ledger() map[string]int {
	starts := map[string]int{}
	for _, line := range b.lines("ledger") {
		if f := strings.Fields(line); len(f) == 3 {
			starts[f[1]]++
		} else {
			b.t.Errorf("a line of the ledger is %q", line)
		}
	}
	return starts
}

// submit submits a job that has to be accepted.
func (b *jobBox) submit(spec executor.Spec) executor.Job {
	b.t.Helper()
	job, _, err := b.client.Submit(b.t.Context(), spec)
	if err != nil {
		b.t.Fatalf("%q is not accepted: %v", spec.Key, err)
	}
	return job
}

// awaitJob waits for the final state of a job, over the death of a supervisor.
func (b *jobBox) awaitJob(id executor.ID) executor.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	job, err := b.patient.Wait(ctx, id.String(), nil)
	if err != nil {
		b.t.Fatalf("job %s does not end: %v; it is %s %q", id, err, job.State, job.Reason)
	}
	return job
}

// wantState checks the final state of a job.
func (b *jobBox) wantState(id executor.ID, want executor.State) executor.Job {
	b.t.Helper()
	job := b.awaitJob(id)
	if job.State != want {
		b.t.Errorf("job %s (%s) is %s (%s), not %s", id, job.Spec.Key, job.State, job.Reason, want)
	}
	return job
}

// output returns what is kept of a stream, with the gaps.
func (b *jobBox) output(id executor.ID, stream string) (text []byte, gap int64) {
	b.t.Helper()
	var out bytes.Buffer
	err := b.client.Output(b.t.Context(), id.String(), stream, 0, false).Copy(&out, func(_ string, n int64) { gap += n })
	if err != nil {
		b.t.Fatalf("cannot read %s of job %s: %v", stream, id, err)
	}
	return out.Bytes(), gap
}

// processes returns the processes in the box beside the init, the supervisor and the service.
func (b *jobBox) processes() (found []string) {
	var walk func(pid int)
	walk = func(pid int) {
		for _, p := range childrenOf(pid) {
			if text := strings.Join(p.args, " "); p.state != 'Z' && !strings.Contains(text, "supervise") && text != "sleep 98434" {
				found = append(found, fmt.Sprintf("%d %s", p.pid, text))
			}
			walk(p.pid)
		}
	}
	walk(b.init)
	return found
}

// wantNoProcess checks that nothing of a job is left.
func (b *jobBox) wantNoProcess() {
	b.t.Helper()
	if !eventually(15*time.Second, 10*time.Millisecond, func() bool { return len(b.processes()) == 0 }) {
		b.t.Errorf("processes are left: %q", b.processes())
	}
}

// wantService checks that the service runs.
func (b *jobBox) wantService() {
	b.t.Helper()
	if !eventually(15*time.Second, 20*time.Millisecond, func() bool { return b.state("app") == "RUNNING" }) {
		b.t.Errorf("the service is %s", b.state("app"))
	}
}

// status of an error of the client; 0: it is no answer.
func answered(err error) int {
	var refused *jobs.Error
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

// SIGKILL of the container right after an accepted job: it runs once or is LOST, what was refused never runs, and every ID is
// known. STOKER_JOB_LIVES sets the number of containers.
func TestJobsSurviveTheContainer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	accepted, refused := map[string]executor.ID{}, map[string]bool{}
	final := map[string]executor.State{}
	states := map[executor.State]int{}
	check := func(b *jobBox) {
		for name, id := range accepted {
			if final[name] == "" {
				final[name] = b.awaitJob(id).State
				states[final[name]]++
			}
		}
		starts := b.ledger()
		for name, id := range accepted {
			job, err := b.client.Job(t.Context(), id.String())
			n := starts[name]
			if err != nil || job.State != final[name] || n > 1 || job.State == executor.Succeeded && n != 1 ||
				job.State != executor.Succeeded && job.State != executor.Lost {
				t.Errorf("%s (job %s) was %s, is %s (%s), %v, and ran %d times", name, id, final[name], job.State, job.Reason, err, n)
			}
		}
		for name, n := range starts {
			if refused[name] || n > 1 {
				t.Errorf("%s ran %d times; refused: %v", name, n, refused[name])
			}
		}
	}
	for life := range number(t, "STOKER_JOB_LIVES", 30) {
		b := newJobBox(t, dir, "slots: 2, queue: 2")
		check(b)
		var left atomic.Int32
		left.Store(int32(1 + life%4)) // killed after so many answers
		var mu sync.Mutex
		var clients sync.WaitGroup
		for k := range 6 {
			name := fmt.Sprintf("%d-%d", life, k)
			spec := b.shell(name, fmt.Sprintf("sleep 0.0%d", k))
			clients.Go(func() { // ends with the answer
				job, _, err := b.client.Submit(t.Context(), spec)
				if err == nil && left.Add(-1) == 0 {
					b.signal(syscall.SIGKILL)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					accepted[name] = job.ID
				case answered(err) == 429:
					refused[name] = true
				case answered(err) != 0:
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		clients.Wait()
		b.remove() // it is killed by now, or here
		await(t, 20*time.Second, "the end of the container", func() bool { return syscall.Kill(b.init, 0) != nil })
		if t.Failed() {
			return
		}
	}
	b := newJobBox(t, dir, "slots: 2, queue: 2")
	check(b)
	t.Logf("%d accepted (%v), %d refused, %d starts", len(accepted), states, len(refused), len(b.ledger()))
	if states[executor.Succeeded] == 0 || states[executor.Lost] == 0 || len(refused) == 0 {
		t.Error("the test has not tried enough")
	}
}

// 50 clients that submit one key at once make one start.
func TestJobsOneKey(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 4")
	for round := range 5 {
		name := fmt.Sprintf("key-%d", round)
		var created atomic.Int32
		var ids sync.Map
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() { // ends with the answer
				client := jobs.New(&http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", b.socket)
				}}, "http://stoker")
				job, first, err := client.Submit(t.Context(), b.shell(name, ""))
				if err != nil {
					t.Error(err)
				}
				if first {
					created.Add(1)
				}
				ids.Store(job.ID, true)
			})
		}
		clients.Wait()
		count := 0
		ids.Range(func(id, _ any) bool {
			count++
			b.wantState(id.(executor.ID), executor.Succeeded)
			return true
		})
		if n := b.ledger()[name]; n != 1 || count != 1 || created.Load() != 1 {
			t.Errorf("%s: %d starts, %d IDs, %d answers that it is new", name, n, count, created.Load())
		}
	}
}

// A job that is stopped 0 to 5 ms after its acceptance has one final state, and nothing of it is left.
func TestJobsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 4, queue: 1000")
	pairs := number(t, "STOKER_JOB_STOPS", 300)
	states := map[executor.State]int{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() { // ends with its jobs
			for k := client; k < pairs; k += 4 {
				name := fmt.Sprintf("stop-%d", k)
				job, _, err := b.client.Submit(t.Context(), b.shell(name, "exec sleep 98435"))
				if err != nil {
					t.Error(err)
					return
				}
				pass(time.Duration(k%11) * 500 * time.Microsecond)
				if _, err := b.client.Stop(t.Context(), job.ID.String(), executor.StopRequest{}); err != nil && answered(err) != 409 {
					t.Errorf("%s: %v", name, err)
				}
				first := b.awaitJob(job.ID)
				mu.Lock()
				states[first.State]++
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	b.wantNoProcess()
	starts := b.ledger()
	for name, n := range starts {
		if n > 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	t.Logf("%v, %d starts", states, len(starts))
	if states[executor.Killed] != pairs {
		t.Errorf("of %d jobs the states are %v", pairs, states)
	}
}

// What a job prints last is kept, also without a newline.
func TestJobsLastBytes(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 4, queue: 1000")
	count := number(t, "STOKER_JOBS", 300)
	var ids []executor.ID
	for k := range count {
		ids = append(ids, b.submit(executor.Spec{Command: []string{"sh", "-c",
			`printf "out $1"; printf "err $1" >&2`, "job", strconv.Itoa(k)}}).ID)
	}
	for k, id := range ids {
		b.wantState(id, executor.Succeeded)
		out, _ := b.output(id, "stdout")
		errs, _ := b.output(id, "stderr")
		if string(out) != fmt.Sprintf("out %d", k) || string(errs) != fmt.Sprintf("err %d", k) {
			t.Errorf("job %d: %q, %q", k, out, errs)
		}
	}
}

// Of a long output the head, the tail and the total are kept, in little memory and space.
func TestJobsLongOutput(t *testing.T) {
	b := newJobBox(t, t.TempDir(), "slots: 2")
	b.awaitJob(b.submit(b.shell("warm", "")).ID)
	const total, keep = 200 << 20, 1 << 20
	before, most, space := b.memory(), 0, int64(0)
	spec := b.shell("yes", "seq -f %011.0f 1000000000 | head -c 200M")
	spec.OutputCap = "1MiB"
	id := b.submit(spec).ID
	for job := (executor.Job{State: executor.Queued}); !job.State.Final(); {
		most, space = max(most, b.memory()), max(space, blocks(t, b.dir+"/jobs/output"))
		var err error
		if job, err = b.client.Job(t.Context(), id.String()); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Millisecond)
	}
	most = max(most, b.memory())
	job := b.wantState(id, executor.Succeeded)
	text, gap := b.output(id, "stdout")
	line := func(k int64) string { return fmt.Sprintf("%011d\n", k+1) }
	var want bytes.Buffer
	for k := int64(0); want.Len() < int(job.Stdout.Head); k++ {
		want.WriteString(line(k))
	}
	head := want.Bytes()[:job.Stdout.Head]
	want = bytes.Buffer{}
	first := job.Stdout.Tail / 12
	for k := first; int64(want.Len()) < total-first*12; k++ {
		want.WriteString(line(k))
	}
	tail := want.Bytes()[job.Stdout.Tail-first*12 : total-first*12]
	if job.Stdout.Bytes != total || gap != total-int64(len(text)) || int64(len(head)) < keep/3 || int64(len(tail)) < keep/3 ||
		job.Stdout.Lost != 0 {
		t.Errorf("%+v: %d bytes are kept, and a gap of %d", job.Stdout, len(text), gap)
	}
	if !bytes.Equal(text, slices.Concat(head, tail)) {
		t.Error("the head or the tail is not what the job wrote")
	}
	t.Logf("memory %d KiB, then at most %d KiB; disk at most %d KiB; %+v", before, most, space>>10, job.Stdout)
	if most-before >= 20<<10 || space == 0 || space >= 4<<20 {
		t.Error("that is too much")
	}
}

// memory is the proportional set size of stoker's processes, in KiB.
func (b *jobBox) memory() (kib int) {
	b.t.Helper()
	for _, pid := range []int{b.init, b.supervisor()} {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		_, line, ok := strings.Cut(string(rollup), "\nPss:")
		if err != nil || !ok {
			b.t.Fatalf("cannot see the memory of %d: %v", pid, err)
		}
		n, _ := strconv.Atoi(strings.Fields(line)[0])
		kib += n
	}
	return kib
}

// blocks is the space that the files of a folder take, in bytes.
func blocks(t testing.TB, dir string) (total int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		var st syscall.Stat_t
		if syscall.Lstat(filepath.Join(dir, entry.Name()), &st) == nil {
			total += st.Blocks * 512
		}
	}
	return total
}

// Of 60 jobs at once 4 slots and a queue of 10 take 14.
func TestJobsFullQueue(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 4, queue: 10")
	accepted, refused := map[string]executor.ID{}, 0
	var mu sync.Mutex
	var clients sync.WaitGroup
	for k := range 60 {
		clients.Go(func() { // ends with the answer
			name := fmt.Sprintf("full-%d", k)
			job, _, err := b.client.Submit(t.Context(), b.shell(name, "while [ ! -e "+b.dir+"/go ]; do sleep 0.05; done"))
			var answer *jobs.Error
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				accepted[name] = job.ID
			case errors.As(err, &answer) && answer.Status == 429 && answer.RetryAfter > 0:
				refused++
			default:
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	clients.Wait()
	write(t, b.dir+"/go", "", 0o644)
	for _, id := range accepted {
		b.wantState(id, executor.Succeeded)
	}
	starts := b.ledger()
	for name, n := range starts {
		if _, ok := accepted[name]; !ok || n != 1 {
			t.Errorf("%s ran %d times; accepted: %v", name, n, ok)
		}
	}
	if len(accepted) != 14 || refused != 46 || len(starts) != 14 {
		t.Errorf("%d were accepted, %d refused and %d started", len(accepted), refused, len(starts))
	}
}

// Jobs outlive the supervisor: kill -9 makes none start twice, and loses neither an exit code nor output. STOKER_JOB_KILLS and
// STOKER_KILLED_JOBS make it a long test (200 and 1000).
func TestJobsSurviveTheSupervisor(t *testing.T) {
	t.Parallel()
	kills, count := number(t, "STOKER_JOB_KILLS", 20), number(t, "STOKER_KILLED_JOBS", 60)
	b := newJobBox(t, t.TempDir(), "slots: 16, queue: 2000")
	ids := make([]executor.ID, count)
	patient := b.patient
	submitted := make(chan struct{})
	go func() { // ends with the last answer
		defer close(submitted)
		for k := range ids {
			text := fmt.Sprintf(`k=0; while [ $k -lt 100 ]; do echo "$1 line $k"; k=$((k+1)); sleep 0.0%d; done; printf end; exit %d`, 1+k%2, k%7)
			job, _, err := patient.Submit(t.Context(), b.shell(fmt.Sprintf("job-%d", k), text))
			if err != nil {
				t.Errorf("job %d: %v", k, err)
				return
			}
			ids[k] = job.ID
		}
	}()
	done := 0
	for ; done < kills && !t.Failed(); done++ {
		pid := 0
		await(t, 20*time.Second, "a supervisor", func() bool { pid = b.supervisor(); return pid != 0 })
		pass(time.Duration(20+done*37%180) * time.Millisecond)
		syscall.Kill(pid, syscall.SIGKILL)
		await(t, 10*time.Second, "its end", func() bool { return b.supervisor() != pid })
	}
	<-submitted
	st, err := patient.Status(t.Context())
	t.Logf("%d kills; then %d jobs ran and %d waited, %v", done, st.Running, st.Waiting, err)
	for k, id := range ids {
		if id == 0 {
			continue
		}
		job := b.awaitJob(id)
		want := executor.Failed
		if k%7 == 0 {
			want = executor.Succeeded
		}
		if job.State != want || job.Exit == nil || job.Exit.Code != k%7 || job.Attempt != 1 {
			t.Errorf("job %d is %s (%s), exit %+v, attempt %d", k, job.State, job.Reason, job.Exit, job.Attempt)
		}
		var text strings.Builder
		for line := range 100 {
			fmt.Fprintf(&text, "job-%d line %d\n", k, line)
		}
		if out, _ := b.output(id, "stdout"); string(out) != text.String()+"end" {
			t.Errorf("the output of job %d (%s) has %d bytes, not %d: %+v", k, id, len(out), text.Len()+3, job.Stdout)
		}
	}
	starts := b.ledger()
	for name, n := range starts {
		if n != 1 {
			t.Errorf("%s ran %d times", name, n)
		}
	}
	if len(starts) != count {
		t.Errorf("%d jobs ran, not %d", len(starts), count)
	}
	b.wantNoProcess()
}

// The end of the container ends what runs; what waits runs in the next one, in order.
func TestJobsAtTheEndOfTheContainer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newJobBox(t, dir, "slots: 2, queue: 20")
	var running, waiting []executor.ID
	for k := range 2 {
		running = append(running, b.submit(b.shell(fmt.Sprintf("runs-%d", k), "exec sleep 98436")).ID)
	}
	await(t, 15*time.Second, "two running jobs", func() bool { return len(b.ledger()) == 2 })
	for k := range 6 {
		spec := b.shell(fmt.Sprintf("waits-%d", k), "")
		spec.Serial = "order" // two slots would let them race
		waiting = append(waiting, b.submit(spec).ID)
	}
	b.endsWell()
	b.remove()
	b = newJobBox(t, dir, "slots: 2, queue: 20")
	for _, id := range running {
		if job := b.wantState(id, executor.Killed); job.By != "the end of the container" || job.Exit == nil || job.Exit.Signal != "TERM" {
			t.Errorf("job %s was ended by %q: %+v", id, job.By, job.Exit)
		}
	}
	for _, id := range waiting {
		b.wantState(id, executor.Succeeded)
	}
	var order []string
	for _, line := range b.lines("ledger")[2:] {
		order = append(order, strings.Fields(line)[1])
	}
	if want := []string{"waits-0", "waits-1", "waits-2", "waits-3", "waits-4", "waits-5"}; !slices.Equal(order, want) {
		t.Errorf("they ran in the order %q", order)
	}
}

// What a job leaves behind is ended and counted, and does not delay its end.
func TestJobsLeftovers(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 2")
	scripts := map[string]string{
		"holds the pipe":  "sleep 98437 & echo x",
		"session":         "setsid sleep 98437 & sleep 0.1; echo x",
		"double fork":     "(setsid sh -c 'sleep 98437 & exit 0' &); sleep 0.2; echo x",
		"silent":          "(setsid sh -c 'sleep 98437 </dev/null >/dev/null 2>&1 & exit 0' &); sleep 0.2; echo x",
		"ignores TERM":    "(trap '' TERM; exec setsid sleep 98437) & sleep 0.1; echo x",
		"session, writes": "setsid sh -c 'while sleep 0.01; do echo y; done' & sleep 0.1; echo x",
	}
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		began := time.Now()
		job := b.wantState(b.submit(b.shell(strings.ReplaceAll(name, " ", "-"), scripts[name])).ID, executor.Succeeded)
		if job.Exit == nil || job.Exit.Leftovers == 0 {
			t.Errorf("%s: %+v", name, job.Exit)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: its end came after %v", name, took)
		}
		if out, _ := b.output(job.ID, "stdout"); !strings.Contains(string(out), "x\n") {
			t.Errorf("%s: the output is %q", name, out)
		}
		b.wantNoProcess()
	}
	// A session of its own does not protect from a stop.
	id := b.submit(b.shell("stopped", "exec setsid -w sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'")).ID
	await(t, 15*time.Second, "its start", func() bool { return b.ledger()["stopped"] == 1 })
	grace := 100 * time.Millisecond
	if _, err := b.client.Stop(t.Context(), id.String(), executor.StopRequest{Grace: &grace}); err != nil {
		t.Error(err)
	}
	b.wantState(id, executor.Killed)
	b.wantNoProcess()
}

// A job has a clean environment, and nothing of an earlier one.
func TestJobsEnvironment(t *testing.T) {
	t.Parallel()
	b := newJobBox(t, t.TempDir(), "slots: 1")
	const text = `env -0 | tr '\0' '\n' | sed 's/^/env /'
for f in /proc/self/fd/*; do echo "fd ${f##*/} $(readlink $f 2>/dev/null)"; done
grep -E '^(SigBlk|SigIgn)' /proc/self/status
pwd; ls -A "$HOME" "$TMPDIR" .
echo 1 >"$HOME/of-job"; echo 1 >"$TMPDIR/of-job"; echo 1 >of-job`
	var homes []string
	for _, name := range []string{"env-1", "env-2"} {
		job := b.wantState(b.submit(b.shell(name, text)).ID, executor.Succeeded)
		data, _ := b.output(job.ID, "stdout")
		out, env := string(data), map[string]string{}
		for _, line := range strings.Split(out, "\n") {
			if k, v, ok := strings.Cut(strings.TrimPrefix(line, "env "), "="); ok && strings.HasPrefix(line, "env ") {
				env[k] = v
			}
			var fd int
			var target string
			fmt.Sscanf(line, "fd %d %s", &fd, &target)
			if fd > 2 && target != "" {
				t.Errorf("%s: it has descriptor %d, %s", name, fd, target)
			}
		}
		for _, set := range []string{"SigBlk", "SigIgn"} {
			if !strings.Contains(out, set+":\t0000000000000000\n") {
				t.Errorf("%s: %s is not empty", name, set)
			}
		}
		for _, own := range []string{"HOME", "TMPDIR"} {
			if !strings.HasPrefix(env[own], b.dir+"/jobs/work/"+job.ID.String()) {
				t.Errorf("%s: %s is %q", name, own, env[own])
			}
		}
		if strings.Contains(out, "of-job") {
			t.Errorf("%s: it sees files of another job", name)
		}
		for k := range env {
			known := slices.Contains([]string{"HOME", "TMPDIR", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "STOKER_JOB_ID", "STOKER_JOB_ATTEMPT",
				"STOKER_PROCESS"}, k)
			if strings.HasPrefix(k, "SECRET") || strings.HasPrefix(k, "STOKER") && !known {
				t.Errorf("%s: its environment has %s", name, k)
			}
		}
		homes = append(homes, env["HOME"])
		if _, err := os.Stat(env["HOME"]); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its workspace is left: %v", name, err)
		}
		t.Logf("%s: %s", name, out)
	}
	if homes[0] == homes[1] {
		t.Errorf("both have the home %s", homes[0])
	}
}

// On a full disk no job is accepted and the service runs on; a job that runs keeps its end, and there are jobs again after room
// was made.
func TestJobsFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/jobs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir+"/jobs", "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir+"/jobs", syscall.MNT_DETACH) })
	b := newJobBox(t, dir, "slots: 2, queue: 5000")
	running := b.submit(b.shell("runs", "while [ ! -e "+dir+"/go ]; do sleep 0.05; done; exit 3")).ID
	await(t, 15*time.Second, "its start", func() bool { return b.ledger()["runs"] == 1 })
	fill := dir + "/jobs/fill"
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size >= 1; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	var seen []int
	for k := range 2000 { // the journal has some space ahead
		name := fmt.Sprintf("full-%d", k)
		spec := executor.Spec{Key: name, Command: []string{"true"}, Labels: map[string]string{"long": strings.Repeat("x", 200)}}
		_, _, err := b.client.Submit(t.Context(), spec)
		if code := answered(err); code != 429 {
			seen = append(seen, code)
			if err != nil {
				t.Logf("job %d: %d %v", k, code, err)
				break
			}
		}
	}
	if len(seen) == 0 || seen[len(seen)-1] != 507 {
		t.Errorf("the last answer is %v, not 507", seen)
	}
	// The end of a job frees a little space, so the next one may be accepted.
	name, refused := "", executor.Spec{}
	if !eventually(15*time.Second, 10*time.Millisecond, func() bool {
		name += "r"
		refused = b.shell(name, "")
		_, _, err = b.client.Submit(t.Context(), refused)
		return answered(err) == 507
	}) {
		t.Errorf("the answer is %v, not 507", err)
	}
	b.wantService()
	write(t, dir+"/go", "", 0o644)
	pass(500 * time.Millisecond)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if job := b.wantState(running, executor.Failed); job.Exit == nil || job.Exit.Code != 3 {
		t.Errorf("the end of the running job is %+v", job.Exit)
	}
	if b.ledger()[name] != 0 {
		t.Error("a refused job ran")
	}
	began := time.Now()
	var again executor.Job
	if !eventually(15*time.Second, 50*time.Millisecond, func() bool {
		again, _, err = b.client.Submit(t.Context(), refused)
		return err == nil
	}) {
		t.Fatalf("no job is accepted again: %v", err)
	}
	t.Logf("accepted again after %v", time.Since(began))
	b.wantState(again.ID, executor.Succeeded)
	if n := b.ledger()[name]; n != 1 {
		t.Errorf("the job ran %d times", n)
	}
	b.wantService()
}

// A journal that cannot be used makes the executor unavailable, and nothing else.
func TestJobsNoJournal(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"a file in its place": func(dir string) error { return os.WriteFile(dir+"/jobs", nil, 0o644) },
		"a file in the folder": func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/jobs", 0o755), os.WriteFile(dir+"/jobs/journal", nil, 0o644))
		},
		"read-only": func(dir string) error {
			err := os.Mkdir(dir+"/jobs", 0o755)
			return errors.Join(err, syscall.Mount("tmpfs", dir+"/jobs", "tmpfs", syscall.MS_RDONLY, ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			t.Cleanup(func() { syscall.Unmount(dir+"/jobs", syscall.MNT_DETACH) })
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			b := newJobBox(t, dir, "slots: 1")
			_, _, err := b.client.Submit(t.Context(), b.shell("no", ""))
			if answered(err) != 503 || !strings.Contains(err.Error(), "jobs") {
				t.Errorf("the answer is %d, %v", answered(err), err)
			}
			st, statusErr := b.client.Status(t.Context())
			if statusErr != nil || st.Unavailable == "" {
				t.Errorf("the executor is %+v, %v", st, statusErr)
			}
			t.Logf("%v", err)
			b.wantService()
			syscall.Unmount(dir+"/jobs", syscall.MNT_DETACH)
			if err := os.RemoveAll(dir + "/jobs"); err != nil {
				t.Fatal(err)
			}
			var job executor.Job
			if !eventually(15*time.Second, 50*time.Millisecond, func() bool {
				job, _, err = b.client.Submit(t.Context(), b.shell("yes", ""))
				return err == nil
			}) {
				t.Fatalf("it is not available after the repair: %v", err)
			}
			b.wantState(job.ID, executor.Succeeded)
			if n := b.ledger()["no"]; n != 0 {
				t.Error("a refused job ran")
			}
			b.wantService()
		})
	}
}
