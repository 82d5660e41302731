package service

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
)

// JobContext is the service that a job or a session names as its context.
type JobContext struct {
	*Launcher
	JavaHome string // of its JVM; empty: it has none, or was not started
}

// jobOOMRaise is by how much the OOM score adjustment of a job or a session exceeds that of the services, in thousandths of the machine's
// memory.
const jobOOMRaise = 500

// PrepareJob returns how a job is started in its workspace. A job without a context gets none of stoker's own variables but those
// of the language, of the time zone, and PATH.
func PrepareJob(job executor.Job, context *JobContext, tree *cgroup.Tree, workspace string) (out executor.Launch, err error) {
	s := job.Spec
	vars, user, err := besideService(context, s.User)
	if err != nil {
		return out, err
	}
	out.User = user
	vars["HOME"], vars["TMPDIR"] = workspace, workspace
	for name, value := range map[string]string{"TRACEPARENT": s.Traceparent, "TRACESTATE": s.Tracestate, "BAGGAGE": s.Baggage} {
		if value != "" {
			vars[name] = value
		}
	}
	maps.Copy(vars, s.Env)
	out.Spec = proc.Spec{Env: EnvironList(vars), User: out.User, OOMRaise: jobOOMRaise}
	if out.Spec.Attributes, err = jobAttributes(s.Attributes); err != nil {
		return out, err
	}
	err = joinCgroup(&out, tree, job.ID.String(), s.Cgroup)
	return out, err
}

// besideService returns environment and user of what runs beside the services: those of a service, or without a context only the
// variables of the language, of the time zone, and PATH. name is the user; empty: the context's, or stoker's own, which is nil.
func besideService(context *JobContext, name string) (vars map[string]string, user *asuser.User, err error) {
	vars = map[string]string{}
	if context != nil {
		if vars, err = context.jobEnvironment(); err != nil {
			return nil, nil, err
		}
		user = context.User
	} else {
		for name, value := range EnvironMap(os.Environ()) {
			if name == "PATH" || name == "TZ" || name == "LANG" || strings.HasPrefix(name, "LC_") {
				vars[name] = value
			}
		}
	}
	if name != "" {
		if user, err = asuser.Lookup(name); err != nil {
			return nil, nil, err
		}
		user.AdaptEnv(vars)
	}
	return vars, user, nil
}

// jobEnvironment is the environment of a service for a job: without the options of its JVM, and with its JDK first in PATH.
func (c *JobContext) jobEnvironment() (map[string]string, error) {
	env, err := c.Environ()
	if err != nil {
		return nil, env.Mask.Error(err)
	}
	vars := env.Vars
	if c.Config.Kind != config.KindProcess {
		vars = jvm.WithoutOptions(vars)
	}
	if c.JavaHome != "" {
		vars["JAVA_HOME"] = c.JavaHome
		vars["PATH"] = filepath.Join(c.JavaHome, "bin") + ":" + vars["PATH"]
	}
	return vars, nil
}

func jobAttributes(a executor.Attributes) (out execshim.Attributes, err error) {
	out = execshim.Attributes{Nice: a.Nice, OOMScoreAdj: a.OOMScoreAdj}
	if a.Umask != "" {
		mask, umaskErr := execshim.ParseUmask(a.Umask)
		out.Umask, err = &mask, umaskErr
	}
	var limitErr, ioErr error
	out.Rlimits, limitErr = execshim.ParseRlimits(a.Rlimits)
	if a.IONice != "" {
		priority, parseErr := execshim.ParseIONice(a.IONice)
		out.IOPriority, ioErr = &priority, parseErr
	}
	return out, errors.Join(err, limitErr, ioErr)
}

// joinCgroup makes a cgroup of the job's own if it has limits. Without one it still runs, and a note says why.
func joinCgroup(out *executor.Launch, tree *cgroup.Tree, name string, want executor.CgroupLimits) (err error) {
	if want == (executor.CgroupLimits{}) {
		return nil
	}
	limits := cgroup.OwnLimits{CPUs: want.CPUs, PIDs: want.PIDs}
	if want.Memory != "" {
		if limits.Memory, err = jvm.ParseMemory(want.Memory); err != nil {
			return err
		}
	}
	own, err := tree.Make("job-"+name, limits)
	if err != nil {
		out.Notes = append(out.Notes, fmt.Sprintf("the limits of cgroup are not applied: %v", err))
		return nil
	}
	out.Spec.Cgroups = own.Dirs()
	return nil
}
