package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/launch"
	"golang.org/x/sys/unix"
)

const pluginsItem = "plugins"

// runtimePluginDir holds the plugin state if the state folder is not writable; it is lost with the container.
const runtimePluginDir = "/run/stoker/plugins"

// newPlugins returns the plugins of this container with their saved switches.
func newPlugins(m *proc.Manager, rec *proc.Recovered, version string, log hclog.Logger, journal *journal, runner *hookRunner) *plugin.Set {
	o := plugin.Options{Reader: PluginReader(), Version: version, Stoker: ownPath(m), StateDirs: []string{runtimePluginDir},
		Restore: func(state any) (bool, error) { return rec.TakeJSON(pluginsItem, state) },
		Save:    func(state any) error { return m.FDStore().PutJSON(pluginsItem, state) },
		Warn:    func(text string) { log.Warn("plugins", "problem", text) },
		OnHooks: runner.setPlugins,
		OnChange: func(p plugin.Info) {
			journal.plugin(p.Name, string(p.State), p.Why)
			switch p.State {
			case plugin.Active:
				log.Info("plugin is active", "plugin", p.Name, "version", p.Version)
			case plugin.Failed:
				log.Error("plugin has failed", "plugin", p.Name, "reason", strings.ReplaceAll(p.Why, "\n", "; "))
			case plugin.Inactive:
				log.Debug("plugin is inactive", "plugin", p.Name, "reason", p.Why)
			}
		}}
	if dir := stateFolder(os.Geteuid(), os.Getenv); dir != "" {
		o.StateFile, o.StateDirs = filepath.Join(dir, "plugins.json"), []string{filepath.Join(dir, "plugins"), runtimePluginDir}
	}
	return plugin.New(o)
}

// PluginReader returns a reader of plugins with the trust checks that root needs.
func PluginReader() plugin.Reader {
	return plugin.Reader{Manifest: config.LoadManifest, CheckOwners: os.Geteuid() == 0}
}

// ownPath returns a path at which any user can execute this binary.
func ownPath(m *proc.Manager) string {
	path, err := os.Readlink("/proc/self/exe")
	if _, missing := os.Stat(path); err == nil && missing == nil && strings.HasPrefix(path, "/") {
		return path
	}
	if path = m.Init().Path; path != "" { // this process runs from a copy in memory
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return procfs.Path(m.Init().Pid, "exe")
}

func factsOf(cfg config.Config) hooks.Facts {
	env := service.EnvironMap(os.Environ())
	return hooks.Facts{Env: env, Labels: cfg.Labels, Flavor: func() string {
		limits, _ := launch.ReadLimits(nil)
		policy, err := cfg.JVM.Policy(jvm.Container{Env: env, Labels: cfg.Labels, Limits: limits})
		if err != nil {
			return "" // the start reports the error
		}
		return policy.ProfileName()
	}}
}

// configurePlugins applies a new configuration to the plugins, and reports whether their JVM options change. daemon.mu is held.
func (d *daemon) configurePlugins(loaded *config.Loaded) (changed bool) {
	if d.plugins == nil {
		return false
	}
	before := fmt.Sprint(d.plugins.JVMOptions(nil))
	d.plugins.Configure(loaded.Config.Plugins, factsOf(loaded.Config))
	return fmt.Sprint(d.plugins.JVMOptions(nil)) != before
}

// stateFolder returns the folder of state that outlives the container: below $XDG_STATE_HOME if set, else below /var/lib, or below
// ~/.local/state for a user that cannot write there. Empty: none.
func stateFolder(uid int, env func(string) string) string {
	const system = "/var/lib/stoker"
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "stoker")
	}
	if uid == 0 || unix.Access(system, unix.W_OK) == nil {
		return system
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			return filepath.Join(home, ".local/state/stoker")
		}
	}
	return ""
}

// NetworkFolder returns the folder for the state of the network, unless the configuration has one; empty: none.
func NetworkFolder() string {
	if folder := stateFolder(os.Geteuid(), os.Getenv); folder != "" {
		return filepath.Join(folder, "netinit")
	}
	return ""
}
