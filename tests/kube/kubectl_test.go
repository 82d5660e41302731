package kube_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	"k8s.io/kubectl/pkg/cmd/cp"
	"k8s.io/kubectl/pkg/cmd/exec"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// kubectlVariable makes the test program kubectl.
const kubectlVariable = "KUBE_TEST_KUBECTL"

func TestMain(m *testing.M) {
	if os.Getenv(kubectlVariable) != "" {
		kubectl()
		return
	}
	klog.SetLogger(klog.Logger{}) // client-go logs what a broken connection does to its copies
	code := m.Run()
	if program, err := product(); err == nil {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// kubectl is `kubectl exec` and `kubectl cp`.
func kubectl() {
	flags := genericclioptions.NewConfigFlags(true)
	factory := cmdutil.NewFactory(cmdutil.NewMatchVersionFlags(flags))
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	cmd := exec.NewCmdExec(factory, streams)
	if os.Args[1] == "cp" {
		cmd = cp.NewCmdCp(factory, streams)
	}
	flags.AddFlags(cmd.Flags())
	cmd.SetArgs(os.Args[2:])
	if err := cmd.Execute(); err != nil {
		os.Exit(1)
	}
}

// kubectl makes a command of kubectl with the box's server and credentials.
func (b *box) kubectl(t *testing.T, args ...string) *osexec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	flags := []string{"--server", b.url(""), "--certificate-authority", b.tls.ca}
	if b.mtls {
		flags = append(flags, "--client-certificate", b.tls.clientCert, "--client-key", b.tls.clientKey)
	} else {
		flags = append(flags, "--token", token)
	}
	at := len(args)
	for k, arg := range args {
		if arg == "--" {
			at = k
			break
		}
	}
	args = append(append(append([]string{}, args[:at]...), flags...), args[at:]...)
	cmd := osexec.CommandContext(within(t), self, args...)
	home := t.TempDir()
	cmd.Env = []string{kubectlVariable + "=1", "HOME=" + home, "KUBECONFIG=/dev/null", "PATH=" + os.Getenv("PATH")}
	return cmd
}

// run runs kubectl.
func run(t *testing.T, cmd *osexec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *osexec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tls": {tls: true}, "mtls": {mtls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			t.Run("exec", func(t *testing.T) { b.kubectlExec(t) })
			t.Run("terminal", func(t *testing.T) { b.kubectlTerminal(t) })
			t.Run("cp", func(t *testing.T) { b.kubectlCp(t) })
			if !o.mtls {
				t.Run("refused", func(t *testing.T) { b.kubectlRefused(t) })
			}
		})
	}
}

func (b *box) kubectlExec(t *testing.T) {
	for _, c := range []struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string
	}{
		{[]string{"exec", "web", "--", "echo", "out"}, "", 0, "out\n", ""},
		{[]string{"exec", "pod/web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"}, "", 7, "out\n",
			"err\ncommand terminated with exit code 7\n"},
		{[]string{"exec", "-n", "prod", "web", "-c", "app", "--", "true"}, "", 0, "", ""},
		{[]string{"exec", "-i", "web", "--", "sort"}, "b\na\n", 0, "a\nb\n", ""},
		{[]string{"exec", "-it", "web", "--", "wc", "-c"}, "four", 0, "4\n",
			"Unable to use a TTY - input is not a terminal or the right kind of file\n"},
		{[]string{"exec", "web", "-c", "nope", "--", "true"}, "", 1, "", "error: container nope is not valid for pod web out of: app\n"},
	} {
		cmd := b.kubectl(t, c.args...)
		cmd.Stdin = strings.NewReader(c.stdin)
		code, stdout, stderr := run(t, cmd)
		if code != c.code || stdout != c.stdout || stderr != c.stderr {
			t.Errorf("%q: code %d, stdout %q, stderr %q; want %d, %q, %q", c.args, code, stdout, stderr, c.code, c.stdout, c.stderr)
		}
	}
}

func (b *box) kubectlTerminal(t *testing.T) {
	cmd := b.kubectl(t, "exec", "-it", "web", "--", "sh")
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	s := &screen{}
	go func() { _, _ = io.Copy(s, master) }() // ends when the terminal is closed
	say := func(line, want string) {
		t.Helper()
		if _, err := io.WriteString(master, line); err != nil {
			t.Fatal(err)
		}
		s.await(t, want)
	}
	say("while [ \"$(stty size)\" != '30 100' ]; do sleep 0.01; done; echo siz''ed\r", "sized")
	if err := pty.Setsize(master, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	say("while [ \"$(stty size)\" != '40 120' ]; do sleep 0.01; done; echo resi''zed\r", "resized")
	say("sh -c 'echo sta\"\"rted; exec sleep 1000'\r", "started\r\n")
	say("\x03", "^C")
	say("echo interrupted $?\r", "interrupted 130")
	say("exit 9\r", "exit 9")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("code %d, screen %q", cmd.ProcessState.ExitCode(), s.String())
	}
}

func (b *box) kubectlCp(t *testing.T) {
	from, in, back := filepath.Join(t.TempDir(), "from"), filepath.Join(openDir(t), "in"), filepath.Join(t.TempDir(), "back")
	data, err := io.ReadAll(noise(3 << 20))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"cp", from, "web:" + in}, {"cp", "web:" + in, back}} {
		if code, stdout, stderr := run(t, b.kubectl(t, args...)); code != 0 {
			t.Fatalf("%q: code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// openDir is a folder in which the user of sessions may write.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kube-")
	if err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// kubectlRefused checks what a user reads who may not.
func (b *box) kubectlRefused(t *testing.T) {
	for _, c := range []struct{ token, want string }{
		{viewToken, "exec"},
		{strings.Repeat("B", 43), "error: You must be logged in to the server"},
	} {
		cmd := b.kubectl(t, "exec", "web", "--", "echo", "out")
		for k, arg := range cmd.Args {
			if arg == token {
				cmd.Args[k] = c.token
			}
		}
		began := time.Now()
		code, stdout, stderr := run(t, cmd)
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) || strings.Contains(stderr, c.token) {
			t.Errorf("token %.1s: code %d, stdout %q, stderr %q", c.token, code, stdout, stderr)
		}
		t.Log(fmt.Sprint(time.Since(began)), stderr)
	}
}
