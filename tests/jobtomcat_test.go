//go:build container

package tests

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
)

// jobContainer is a Docker container with a real Tomcat and an executor. The folder dir is the same inside and outside.
type jobContainer struct {
	*container
	*jobBox
}

func newJobContainer(t testing.TB, flags []string, args ...string) *jobContainer {
	t.Helper()
	needsImage(t, "stoker-demo")
	dir := openDir(t)
	write(t, dir+"/ledger", "", 0o666)
	if err := os.Chmod(dir+"/ledger", 0o666); err != nil { // jobs of another user note themselves there
		t.Fatal(err)
	}
	b := &box{t: t, dir: dir, socket: dir + "/api.sock"}
	client := jobs.Dial(b.socket)
	client.Patience = time.Nanosecond
	c := &jobContainer{jobBox: &jobBox{b, client, jobs.Dial(b.socket)}}
	c.container = newContainer(t, slices.Concat(flags, []string{"-v", dir + ":" + dir, "-v", stoker(t) + ":/usr/local/bin/stoker:ro", "-e", "STOKER_SOCKET=" + b.socket,
		"stoker-demo", "--set", "api.socket=" + b.socket, "--set", "executor.slots=4"}, args)...)
	c.started()
	return c
}

// started waits until Tomcat runs, after a start of the container.
func (c *jobContainer) started() {
	t := c.t
	t.Helper()
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
	init, err := strconv.Atoi(c.inspect("{{.State.Pid}}"))
	if err != nil {
		t.Fatal(err)
	}
	c.init = init
}

// tomcat is the pid of Tomcat in the container; 0: it does not run, or does not answer.
func (c *jobContainer) tomcat() int {
	st, _ := c.status()
	svc, _ := st.service("tomcat")
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + c.inspect("{{.NetworkSettings.IPAddress}}") + ":8080/app/health")
	if err != nil {
		return 0
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || svc.State != "RUNNING" {
		return 0
	}
	return svc.Pid
}

// eater is a program that allocates 700 MiB.
const eater = `perl -e '$x = "x" x 1048576; $y .= $x for 1..700; sleep 60'`

// A job that uses up the memory of the container is killed by the kernel, and Tomcat is not.
func TestJobsOutOfMemory(t *testing.T) {
	t.Parallel()
	c := newJobContainer(t, []string{"--memory", "512m", "--memory-swap", "512m", "--env", "STOKER_JVM_RESERVE=32MiB"})
	pid := c.tomcat()
	if pid == 0 {
		t.Fatal("Tomcat does not answer")
	}
	fits := c.shell("fits", "true")
	fits.Memory = "32MiB" // what is set aside
	c.wantState(c.submit(fits).ID, executor.Succeeded)
	fits.Key, fits.Memory = "does-not-fit", "33MiB"
	if _, _, err := c.patient.Submit(t.Context(), fits); err == nil || !strings.Contains(err.Error(), "jvm.reserve") {
		t.Errorf("a job that never fits beside Tomcat: %v", err)
	}
	wait := "while [ ! -e " + c.dir + "/go ]; do sleep 0.05; done; "
	for _, test := range []struct {
		name, service, script string
		kill                  bool // the supervisor, while the job runs
	}{
		{name: "itself", script: "exec " + eater},
		{name: "context", service: "tomcat", script: "exec " + eater},
		{name: "child", script: eater + "; exit $?"},
		{name: "grandchild", script: `sh -c "` + strings.NewReplacer(`"`, `\"`, `$`, `\$`).Replace(eater) + `; exit \$?"; exit $?`},
		{name: "taken-over", script: wait + "exec " + eater, kill: true},
		{name: "taken-over-child", script: wait + eater + "; exit $?", kill: true},
	} {
		os.Remove(c.dir + "/go")
		spec := c.shell(test.name, test.script)
		spec.Context = test.service
		id := c.submit(spec).ID
		if test.kill {
			await(t, 20*time.Second, "the start of the job", func() bool { return c.ledger()[test.name] == 1 })
			old := c.supervisor()
			syscall.Kill(old, syscall.SIGKILL)
			await(t, 20*time.Second, "another supervisor", func() bool { now := c.supervisor(); return now != 0 && now != old })
			if _, err := c.patient.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
			write(t, c.dir+"/go", "", 0o644)
		}
		job := c.wantState(id, executor.Failed)
		if job.Exit == nil || !job.Exit.OOMKilled || job.Exit.Infrastructure {
			t.Errorf("%s: %+v, %q", test.name, job.Exit, job.Reason)
		}
		if now := c.tomcat(); now != pid {
			t.Fatalf("%s: Tomcat was process %d and is %d", test.name, pid, now)
		}
	}
	// An end of another kind after all that is none of the kernel's.
	if job := c.wantState(c.submit(c.shell("kill", "kill -9 $$")).ID, executor.Failed); job.Exit == nil || job.Exit.OOMKilled {
		t.Errorf("a job that killed itself: %+v", job.Exit)
	}
	if st, _ := c.status(); !c.alive() || c.inspect("{{.RestartCount}}") != "0" {
		t.Errorf("the container is not what it was: %+v", st)
	}
}

// On cgroup v1, or where the cgroups cannot be written, a job with limits runs without them and says so.
func TestJobsWithoutCgroups(t *testing.T) {
	t.Parallel()
	c := newJobContainer(t, []string{"--memory", "512m", "--memory-swap", "512m"})
	spec := c.shell("limited", "true")
	spec.Cgroup = executor.CgroupLimits{CPUs: 0.5, Memory: "64MiB"}
	job := c.wantState(c.submit(spec).ID, executor.Succeeded)
	if len(job.Notes) != 1 || !strings.HasPrefix(job.Notes[0], "the limits of cgroup are not applied: ") || len(job.Notes[0]) < 50 {
		t.Errorf("the notes are %q", job.Notes)
	}
	t.Logf("%q", job.Notes)
	out, err := c.exec("stoker", "job", "show", job.ID.String())
	if err != nil || !strings.Contains(out, "not applied") {
		t.Errorf("the command shows %v:\n%s", err, out)
	}
	if job := c.wantState(c.submit(c.shell("free", "true")).ID, executor.Succeeded); len(job.Notes) != 0 {
		t.Errorf("without limits the notes are %q", job.Notes)
	}
}

// docker stop loses no job: what ran was ended by it or runs again, what waits runs after the next start.
func TestJobsDockerStop(t *testing.T) {
	t.Parallel()
	c := newJobContainer(t, []string{"--memory", "1g"}, "--set", "executor.stop_grace=1s")
	type wish struct {
		state  executor.State
		starts int
	}
	want := map[executor.ID]wish{}
	names := map[executor.ID]string{}
	add := func(spec executor.Spec, state executor.State, starts int) {
		t.Helper()
		id := c.submit(spec).ID
		want[id], names[id] = wish{state, starts}, spec.Key
	}
	add(c.shell("obeys", "exec sleep 98436"), executor.Killed, 1)
	add(c.shell("deaf", "trap '' TERM; while :; do sleep 0.1; done"), executor.Killed, 1)
	add(c.shell("polite", "trap 'exit 0' TERM; while :; do sleep 0.1; done"), executor.Killed, 1)
	again := c.shell("again", "[ -e "+c.dir+"/again ] && exit 0; touch "+c.dir+"/again; exec sleep 98436")
	again.RetryOnLost = true
	add(again, executor.Succeeded, 2)
	await(t, 20*time.Second, "four running jobs", func() bool {
		_, err := os.Stat(c.dir + "/again")
		return len(c.ledger()) == 4 && err == nil
	})
	for k := range 3 {
		spec := c.shell(fmt.Sprintf("waits-%d", k), "")
		spec.Serial = "order"
		add(spec, executor.Succeeded, 1)
	}
	later := c.shell("later", "")
	later.NotBefore = time.Now().Add(6 * time.Second)
	add(later, executor.Succeeded, 1)
	took := c.stop()
	if code := c.exitCode(); code != 143 && code != 0 {
		t.Errorf("the exit code is %d", code)
	}
	t.Logf("docker stop took %v", took)
	if out, err := exec.Command("docker", "start", c.id).CombinedOutput(); err != nil {
		t.Fatalf("cannot start it again: %v: %s", err, out)
	}
	c.started()
	for id, w := range want {
		job := c.wantState(id, w.state)
		if n := c.ledger()[names[id]]; n != w.starts {
			t.Errorf("%s ran %d times, not %d; it is %s (%s)", names[id], n, w.starts, job.State, job.Reason)
		}
		if w.state == executor.Killed && (job.By != "the end of the container" || job.Exit == nil) {
			t.Errorf("%s was ended by %q: %+v", names[id], job.By, job.Exit)
		}
	}
	list, err := c.client.Jobs(t.Context(), executor.Filter{})
	if err != nil || len(list) != len(want) {
		t.Errorf("%d jobs are listed, not %d: %v", len(list), len(want), err)
	}
}

// A job in the context of a Tomcat has its user, JDK and environment, can look into its JVM, and has nothing else.
func TestJobsInTomcat(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	tc := newTomcatBase(t, dir)
	if out, err := exec.Command("chown", "-R", "daemon", tc.base).CombinedOutput(); err != nil {
		t.Fatalf("cannot give the base away: %v: %s", err, out)
	}
	b := newBox(t, boxOptions{dir: dir, env: []string{"STOKER_STOP_TIMEOUT=77s", "OF_CONTAINER=1", "CATALINA_OPTS=-Dsecret=of-options"},
		config: "services:" + strings.TrimRight(tc.config(), "\n") + `
    user: daemon
    env: {OF_TOMCAT: "1"}
  other: {command: [sleep, "98434"], env: {OF_OTHER: "1"}}
main: tomcat
executor: {journal: ` + dir + `/jobs, slots: 2}
`})
	j := &jobBox{b, jobs.Dial(b.socket), jobs.Dial(b.socket)}
	b.awaitState("tomcat", "RUNNING", 2*time.Minute)
	st, _ := b.status()
	svc, _ := st.service("tomcat")
	run := func(service string, command ...string) (executor.Job, string) {
		t.Helper()
		job := j.wantState(j.submit(executor.Spec{Context: service, Command: command}).ID, executor.Succeeded)
		out, _ := j.output(job.ID, "stdout")
		errs, _ := j.output(job.ID, "stderr")
		if job.State != executor.Succeeded {
			t.Errorf("%q: %s%s", command, out, errs)
		}
		return job, string(out) + string(errs)
	}
	if _, out := run("tomcat", "java", "-version"); !strings.Contains(out, "version") || strings.Contains(out, "Picked up") {
		t.Errorf("java -version prints %q", out)
	}
	if _, out := run("tomcat", "jcmd", strconv.Itoa(svc.Pid), "VM.command_line"); !strings.Contains(out, "Bootstrap") {
		t.Errorf("jcmd prints %q", out)
	}
	if _, out := run("tomcat", "jps"); !strings.Contains(out, strconv.Itoa(svc.Pid)+" Bootstrap") {
		t.Errorf("jps prints %q", out)
	}
	_, out := run("tomcat", "sh", "-c", `id -un; echo "$JAVA_HOME"; command -v java; pwd; umask; ulimit -c`)
	lines := strings.Split(out, "\n")
	if lines[0] != "daemon" || lines[1] == "" || lines[2] != lines[1]+"/bin/java" || !strings.HasPrefix(lines[3], dir+"/jobs/work/") {
		t.Errorf("user, JAVA_HOME, java and folder are %q", lines)
	}
	const look = `env -0 | tr '\0' '\n' | sed 's/^/env /'; ls -l /proc/self/fd | sed 's/^/fd /'
grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Groups|CoreDumping)' /proc/self/status; cat /proc/self/oom_score_adj`
	environment := func(text string) map[string]string {
		env := map[string]string{}
		for line := range strings.Lines(text) {
			if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "env "); ok {
				name, value, _ := strings.Cut(text, "=")
				env[name] = value
			}
		}
		return env
	}
	_, out = run("tomcat", "sh", "-c", look)
	env := environment(out)
	for _, name := range []string{"OF_TOMCAT", "OF_CONTAINER", "JAVA_HOME"} {
		if env[name] == "" {
			t.Errorf("a job of Tomcat lacks %s", name)
		}
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.javas()[0]))
	if err != nil {
		t.Fatal(err)
	}
	ofTomcat := environment("env " + strings.ReplaceAll(string(data), "\x00", "\nenv "))
	for name := range env {
		known := []string{"STOKER_JOB_ID", "STOKER_JOB_ATTEMPT", "STOKER_PROCESS", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "JAVA_HOME"}
		if _, has := ofTomcat[name]; name == "CATALINA_OPTS" || !has && !slices.Contains(known, name) {
			t.Errorf("a job of Tomcat has %s=%s, which Tomcat has not", name, env[name])
		}
	}
	for _, set := range []string{"SigBlk", "SigIgn", "CapPrm", "CapEff", "CapAmb"} {
		if !strings.Contains(out, set+":\t0000000000000000\n") {
			t.Errorf("%s is not empty", set)
		}
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 9 && f[0] == "fd" && f[9] > "2" && !strings.HasPrefix(f[11], "/proc/") {
			t.Errorf("a descriptor: %s", line)
		}
	}
	_, out = run("", "sh", "-c", look)
	if env := environment(out); env["OF_TOMCAT"]+env["OF_CONTAINER"]+env["OF_OTHER"]+env["JAVA_HOME"] != "" {
		t.Errorf("a job without a context has %q", slices.Sorted(maps.Keys(env)))
	}
	text, err := b.run("job", "run", "--context", "tomcat", "--", "java", "-version")
	if err != nil || !strings.Contains(text, "version") {
		t.Errorf("the command prints %v: %s", err, text)
	}
}
