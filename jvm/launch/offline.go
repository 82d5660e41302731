package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// RenderLayers reads the sources and renders them as run does. Read errors are among the errors of the result.
func RenderLayers(cfg jvm.Config, env map[string]string, limits jvm.Limits, target Target, noSizing bool) jvm.Result {
	var missing []jvm.Problem
	for _, layer := range []jvm.LayerConfig{cfg.Default, cfg.User, cfg.Enforced} {
		for _, file := range layer.Files {
			if _, err := os.Stat(file.File); err != nil {
				missing = append(missing, jvm.Problem{Code: jvm.BadValue, Message: fmt.Sprintf("cannot read the option file %q: %v",
					file.File, errors.Unwrap(err))})
			}
		}
	}
	if missing != nil {
		return jvm.Result{Errors: missing}
	}
	own := service.Environment{Vars: env}
	l := &sources{cfg: cfg, shared: &Shared{Labels: func() map[string]string { return nil }}, serviceEnv: own, env: own,
		kind: kindVariables{names: []string{"JAVA_OPTS", "CATALINA_OPTS"}}, java: target.jvm.JavaMajor}
	in, err := l.input(context.Background())
	if err != nil {
		return jvm.Result{Errors: []jvm.Problem{{Code: jvm.BadValue, Message: err.Error()}}}
	}
	in.Limits, in.Target, in.NoSizing = limits, target.jvm, noSizing
	if target.ask != nil && (in.NamesFlags() || in.Target.JavaVersion == "") {
		in.Target = target.ask()
	}
	result, _ := jvm.Render(in) // the error is in the result too
	// The options are printed as requested. Messages end up in build logs, so they are masked.
	result.Warnings, result.Errors = maskedProblems(nil, result.Warnings), maskedProblems(nil, result.Errors)
	return result
}

// Target is the JVM that options are rendered for.
type Target struct {
	jvm jvm.Target
	ask func() jvm.Target // asks the JVM for its version and flags; nil: it is not installed
}

// TargetOf returns the target for a Java version, which need not be installed, or for the installed java if the version is empty.
func TargetOf(version string) (Target, error) {
	if version == "" {
		own := &service.Environment{Vars: service.EnvironMap(os.Environ())}
		java, _, err := hotspot.Find("/", own.Vars["PATH"], javaSettings(own)...) // an unknown version is treated as a current one
		if err != nil {
			return Target{}, nil //nolint:nilerr // the options are rendered for a current version
		}
		run := func(ctx context.Context, argv []string) (int, string, error) {
			return proc.Output(ctx, argv, service.EnvironList(jvmEnviron(own.Vars, nil)))
		}
		return Target{targetOf(java), sync.OnceValue(func() jvm.Target {
			build, _ := new(hotspot.Checker).Ask(context.Background(), java.Java, "", run)
			asked := targetOf(java.With(build.Version))
			asked.Flags = build.Flags
			return asked
		})}, nil
	}
	major := hotspot.ParseMajor(version)
	if major < 8 {
		return Target{}, &exit.Error{Err: fmt.Errorf("cannot use --java-version %q", version),
			Hint: "it is a version from 8, such as 17 or 1.8.0_412", Code: exit.Usage}
	}
	return Target{jvm.Target{JavaMajor: major, JavaVersion: version}, nil}, nil
}
