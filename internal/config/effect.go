package config

import (
	"strings"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// effect is what it takes for a changed value to count.
type effect int

const (
	atOnce       effect = iota + 1 // it is taken over while everything runs
	newProcess                     // the service's process has to be started again
	newContainer                   // only a new container has it
)

// serviceEffects has every value of a service, by its path below the service.
// A value that only probes, policies and stops read is taken over at once; one
// that the process got when it was started needs a new process.
func serviceEffects() map[string]effect {
	return effects(map[effect]string{
		newProcess: `kind oneshot command
			user groups dir env env_files secrets umask rlimits nice ionice oom_score_adj drop_capabilities no_new_privileges
			cgroup.own cgroup.cpus cgroup.memory
			tomcat.home tomcat.base tomcat.java tomcat.setenv
			java.home java.jar java.main java.classpath java.args output.merge`,
		atOnce: `autostart requires after essential success_codes success_signals
			ready.http ready.method ready.headers ready.socket ready.status
			ready.cert_file ready.key_file ready.body ready.tcp ready.exec ready.file ready.timeout
			ready.log ready.within ready.every
			live.http live.method live.headers live.socket live.status
			live.cert_file live.key_file live.body live.tcp live.exec live.file live.timeout
			live.every live.failures live.successes live.then
			restart.policy restart.backoff.first restart.backoff.factor restart.backoff.max restart.backoff.jitter restart.backoff.reset
			restart.limit.starts restart.limit.within restart.limit.retry_every restart.limit.uncounted_codes
			stop.signal stop.command stop.drain stop.timeout stop.thread_dump
			output.keep output.format output.overflow
			output.file.path output.file.size output.file.every output.file.files output.file.total
			tomcat.contexts`,
	})
}

// jvmEffects has every value that makes the command line of the JVMs: of the
// services of kind java and tomcat, and of no others.
func jvmEffects() map[string]effect {
	return effects(map[effect]string{
		newProcess: `jvm.flavor.name jvm.flavor.cpus jvm.flavor.memory jvm.flavors jvm.cpus jvm.reserve
			jvm.rules.heap jvm.rules.metaspace jvm.rules.code-cache jvm.rules.direct-memory jvm.rules.stacks jvm.rules.collector
			jvm.rules.cpus jvm.rules.thread-pins jvm.rules.malloc-arenas jvm.rules.out-of-memory
			jvm.default.options jvm.default.dirs jvm.default.files jvm.default.argfiles jvm.default.urls jvm.default.env
			jvm.user.options jvm.user.dirs jvm.user.files jvm.user.argfiles jvm.user.urls jvm.user.env
			jvm.enforced.options jvm.enforced.dirs jvm.enforced.files jvm.enforced.argfiles jvm.enforced.urls jvm.enforced.env`,
	})
}

// containerEffects has every value that belongs to no service.
func containerEffects() map[string]effect {
	out := effects(map[effect]string{
		atOnce: `main on_fatal stop.timeout log.level labels reload.watch jvm.apply jvm.check
			hooks.dir plugins.dir plugins.enabled api.admins`,
		newContainer: "api.socket", // clients have its path, and it is in the bag
	})
	for _, event := range lifecycle.Names() {
		out[join("hooks", event)] = atOnce
	}
	return out
}

func effects(lists map[effect]string) map[string]effect {
	out := map[string]effect{}
	for e, list := range lists {
		for _, path := range strings.Fields(list) {
			out[path] = e
		}
	}
	return out
}
