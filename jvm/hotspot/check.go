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

	"github.com/stoker-init/stoker/jvm"
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

// Build is what a JVM tells about itself; it differs between updates and vendors of a version.
type Build struct {
	Version string // as java -version prints it; empty: unknown
	// Flags are all of its flags, also those that need an unlock option. The caller must not change them.
	Flags map[string]jvm.FlagInfo
}

// Checker tries options on a JVM before a service is started with them, and caches the
// result. The zero value is ready. It is safe for concurrent use.
type Checker struct {
	mu     sync.Mutex
	known  map[string]Flags // guarded by mu
	builds map[string]Build // guarded by mu
}

// Check starts the JVM with the options, without side effects (DryRun), and returns its
// flags, which the caller must not change. A *StartError: the JVM does not start with them.
// Any other error: the check itself failed and proves nothing. Only flags are cached, since a
// broken file may be repaired under the same options. user is the one that run uses.
func (c *Checker) Check(ctx context.Context, java, user string, options []string, run Runner) (Flags, error) {
	file, err := fileKey(java)
	if err != nil {
		return nil, fmt.Errorf("cannot try the JVM options: %w", err)
	}
	key := file + " " + user + "\x00" + strings.Join(options, "\x00")
	c.mu.Lock()
	flags, ok := c.known[key]
	build, asked := c.builds[file]
	c.mu.Unlock()
	if ok {
		return flags, nil
	}
	argv := DryRun(options)
	if !asked {
		argv = withAllFlags(argv)
	}
	output, err := try(ctx, append([]string{java}, argv...), options, run)
	if err != nil {
		return nil, err
	}
	if flags = ParseFlags(output); len(flags) == 0 {
		return nil, errors.New("cannot try the JVM options: the JVM printed no flags; it is not HotSpot")
	}
	if !asked {
		build = Build{parseVersion(output), make(map[string]jvm.FlagInfo, len(flags))}
		for name, f := range flags {
			build.Flags[name] = jvm.FlagInfo{Type: f.Type, Kind: f.Kind}
		}
		for _, name := range unlocks {
			delete(flags, name)
		}
	}
	if startsSmall(options) { // these two come from DryRun
		delete(flags, "InitialHeapSize")
		delete(flags, "MinHeapSize")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxChecks {
		c.known, c.builds = map[string]Flags{}, map[string]Build{}
	}
	c.known[key], c.builds[file] = flags, build
	return flags, nil
}

// fileKey returns the identity of a JVM: another build differs in the size or the time of its file.
func fileKey(java string) (string, error) {
	info, err := os.Stat(java)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", java, info.Size(), info.ModTime().UnixNano()), nil
}

// Known returns the build of a JVM that was asked before.
func (c *Checker) Known(java string) (b Build, ok bool) {
	if file, err := fileKey(java); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		b, ok = c.builds[file]
	}
	return b, ok
}

// Ask is Known that starts the JVM where it has to. user is the one that run uses.
func (c *Checker) Ask(ctx context.Context, java, user string, run Runner) (Build, error) {
	if b, ok := c.Known(java); ok {
		return b, nil
	}
	_, err := c.Check(ctx, java, user, nil, run)
	b, _ := c.Known(java)
	return b, err
}

// try runs the JVM once and returns its output.
func try(ctx context.Context, argv, options []string, run Runner) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, CheckTime)
	defer cancel()
	begun := time.Now()
	code, output, err := run(ctx, argv)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		took := time.Since(begun).Round(100 * time.Millisecond)
		return "", fmt.Errorf("cannot try the JVM options: the JVM did not print its flags within %v%s", took, wrote(output))
	case err != nil:
		return "", fmt.Errorf("cannot try the JVM options: %w", err)
	case code != 0:
		err := startFailure(code, output)
		var refused *StartError
		if errors.As(err, &refused) {
			if quoted := refused.Option; quoted != "" {
				refused.Option = given(options, quoted)
				refused.Message = strings.ReplaceAll(refused.Message, quoted, refused.Option)
			}
		}
		return "", err
	}
	return output, nil
}

// parseVersion finds the line `openjdk version "17.0.15" 2025-04-15` of -version.
func parseVersion(output string) string {
	for line := range strings.Lines(output) {
		name, rest, found := strings.Cut(line, ` version "`)
		if version, _, closed := strings.Cut(rest, `"`); found && closed && !strings.Contains(name, " ") {
			return version
		}
	}
	return ""
}

// wrote quotes the last line of an output, for an error.
func wrote(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return " and wrote nothing"
	}
	return fmt.Sprintf(" and wrote last: %.*q", maxText, output[strings.LastIndexByte(output, '\n')+1:])
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
	out := WithoutEffects(options)
	if startsSmall(options) {
		out = append(out, "-Xms8m")
	}
	return append(out, "-XX:-UsePerfData", "-XX:+PrintFlagsFinal", "-version")
}

// WithoutEffects returns the options without those that do more than to set something; logs go to stderr, from warnings on.
func WithoutEffects(options []string) []string {
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
	return out
}

// unlocks are the flags that others of a JVM need.
var unlocks = [...]string{"UnlockDiagnosticVMOptions", "UnlockExperimentalVMOptions"}

// withAllFlags has a dry run print the flags that need an unlock option, too. They take the JVM about 5 ms.
func withAllFlags(argv []string) []string {
	argv = slices.DeleteFunc(argv, func(o string) bool { return o == "-XX:-"+unlocks[0] || o == "-XX:-"+unlocks[1] })
	return append([]string{"-XX:+" + unlocks[0], "-XX:+" + unlocks[1]}, argv...)
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
