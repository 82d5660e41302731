package hotspot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Runner runs argv to its end and returns its exit code by shell convention and its stdout
// and stderr.
type Runner func(ctx context.Context, argv []string) (code int, output string, err error)

// StartError is returned for options with which the JVM does not start.
type StartError struct{ StartupError }

func (e *StartError) Error() string { return "the JVM refuses to start: " + e.Message }

// CheckTime bounds one check. A JVM needs 30 to 60 ms to print its flags.
const CheckTime = 10 * time.Second

// maxChecks is how many results a Checker remembers.
const maxChecks = 32

// Checker tries options on a JVM before a service is started with them, and caches the
// result. The zero value is ready. It is safe for concurrent use.
type Checker struct {
	mu    sync.Mutex
	known map[string]Flags // guarded by mu
}

// Check starts the JVM with the options, without side effects (DryRun), and returns its
// flags, which the caller must not change. A *StartError: the JVM does not start with them.
// Any other error: the check itself failed and proves nothing. Only flags are cached, since a
// broken file may be repaired under the same options. user is the one that run uses.
func (c *Checker) Check(ctx context.Context, java, user string, options []string, run Runner) (Flags, error) {
	argv := append([]string{java}, DryRun(options)...)
	info, err := os.Stat(java)
	if err != nil {
		return nil, fmt.Errorf("cannot try the JVM options: %w", err)
	}
	key := fmt.Sprintf("%d %d %s\x00%s", info.Size(), info.ModTime().UnixNano(), user, strings.Join(argv, "\x00"))
	c.mu.Lock()
	flags, ok := c.known[key]
	c.mu.Unlock()
	if ok {
		return flags, nil
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTime)
	defer cancel()
	begun := time.Now()
	code, output, err := run(ctx, argv)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		took := time.Since(begun).Round(100 * time.Millisecond)
		return nil, fmt.Errorf("cannot try the JVM options: the JVM did not print its flags within %v%s", took, wrote(output))
	case err != nil:
		return nil, fmt.Errorf("cannot try the JVM options: %w", err)
	case code != 0:
		err := startFailure(code, output)
		var refused *StartError
		if errors.As(err, &refused) {
			refused.Option = given(options, refused.Option)
		}
		return nil, err
	}
	if flags = ParseFlags(output); len(flags) == 0 {
		return nil, errors.New("cannot try the JVM options: the JVM printed no flags; it is not HotSpot")
	}
	if startsSmall(options) { // these two come from DryRun
		delete(flags, "InitialHeapSize")
		delete(flags, "MinHeapSize")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxChecks {
		c.known = map[string]Flags{}
	}
	c.known[key] = flags
	return flags, nil
}

// wrote quotes the last line of an output, for an error.
func wrote(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return " and wrote nothing"
	}
	return fmt.Sprintf(" and wrote last: %.*q", maxText, output[strings.LastIndexByte(output, '\n')+1:])
}

// Build returns every flag of the JVM, also those that need an unlock option. Like Check it
// asks each build once: another build differs in size or time of its file.
func (c *Checker) Build(ctx context.Context, java, user string, run Runner) (Flags, error) {
	return c.Check(ctx, java, user, []string{"-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions"}, run)
}

// startFailure tells a JVM that refuses its options from one that met with something
// else, such as a machine without memory or a KILL.
func startFailure(code int, output string) error {
	w := readExitOutput([]byte(output))
	refused := w.startupError()
	switch {
	case outOfMemory(refused.Message):
		return fmt.Errorf("cannot try the JVM options: %s", refused.Message)
	case code == 1 && refused.Message != "":
		return &StartError{refused}
	case code == 1 && strings.HasPrefix(w.last, "Error: "): // the launcher's, as "-cp requires class path specification"
		return &StartError{StartupError{Message: w.last}}
	}
	return fmt.Errorf("cannot try the JVM options: the JVM ended with code %d: %s", code, clip(w.last))
}

// DryRun returns arguments that try the options without their side effects: even with
// -version agents run, jdwp listens, management binds its port, log files are truncated and
// the heap is touched. Options that need the application's class path are left out too.
func DryRun(options []string) []string {
	out := make([]string, 0, len(options)+5)
	logs := false
	for _, o := range options {
		if hasEffects(o) {
			continue
		}
		if rest, ok := strings.CutPrefix(o, "-Xlog:"); ok {
			logs = true
			o = logToStderr(o, rest)
		}
		out = append(out, o)
	}
	if logs { // the options were parsed; their output is not needed
		out = append(out, "-Xlog:disable", "-Xlog:all=warning:stderr")
	}
	if startsSmall(options) {
		out = append(out, "-Xms8m")
	}
	return append(out, "-XX:-UsePerfData", "-XX:+PrintFlagsFinal", "-version")
}

// startsSmall reports whether the dry run needs a smaller heap: ZGC allocates all of it at
// once, beside the JVM that runs.
func startsSmall(options []string) bool { return slices.Contains(options, "-XX:+UseZGC") }

// given is the option as it was given, of which the JVM has quoted what DryRun
// made of it.
func given(options []string, quoted string) string {
	for _, o := range options {
		if rest, ok := strings.CutPrefix(o, "-Xlog:"); ok && logToStderr(o, rest) == quoted {
			return o
		}
	}
	return quoted
}

// hasEffects reports whether an option does more than to set something.
func hasEffects(option string) bool {
	if hasPrefix(option,
		"-javaagent:", "-agentlib:", "-agentpath:", "-Xrun", "-Dcom.sun.management", "-Xloggc:",
		"-XX:StartFlightRecording", "-XX:LogFile=", "-XX:ArchiveClassesAtExit=", "-XX:AOTCacheOutput=", "-XX:AOTMode=", "-XX:AOTConfiguration=",
		"-XX:CRaC", "-Xshare:on", "-XX:SharedArchiveFile=", "-Djava.system.class.loader=", "-Djava.nio.file.spi.DefaultFileSystemProvider=") {
		return true
	}
	switch option {
	case "-XX:+AlwaysPreTouch", "-XX:+ManagementServer", "-XX:+StartAttachListener", "-XX:+PauseAtStartup", "-XX:+FlightRecorder",
		"-XX:+RequireSharedSpaces", "-XX:+LogVMOutput", "-XX:+LogCompilation", "-XX:+AutoCreateSharedArchive":
		return true
	}
	manager, ok := strings.CutPrefix(option, "-Djava.security.manager=")
	return ok && manager != "" && manager != "allow" && manager != "disallow" && manager != "default"
}

// logToStderr turns a log file, which would be truncated, into stderr: of
// -Xlog:WHAT:OUTPUT:DECORATORS:OPTIONS only WHAT is left then.
func logToStderr(option, rest string) string {
	what, output, _ := strings.Cut(rest, ":")
	if output == "" || strings.HasPrefix(output, ":") || strings.HasPrefix(output, "stdout") || strings.HasPrefix(output, "stderr") {
		return option
	}
	return "-Xlog:" + cmp.Or(what, "all") + ":stderr"
}
