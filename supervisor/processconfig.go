package supervisor

// ProcessConfig are what a process of a service is started with.
type ProcessConfig struct {
	// User is "name", "uid", "name:group" or "uid:gid"; empty: stoker's own.
	User string `yaml:"user" check:"user"`
	// Groups are the supplementary groups; absent: those of the user's entry in
	// the group file; an empty list: none.
	Groups []string `yaml:"groups" empty:"counts" check:"group"`
	// Dir is the working directory; empty: stoker's own.
	Dir string `yaml:"dir" check:"absolute"`
	// Env is added to stoker's own environment and wins over it and over EnvFiles.
	Env map[string]string `yaml:"env"`
	// EnvFiles hold NAME=VALUE lines, read at each start; a later one wins. A path
	// that begins with "-" may be missing.
	EnvFiles []string `yaml:"env_files" check:"envfile"`
	// Secrets are variables whose value is the content of a file, read at each
	// start, less one newline at its end.
	Secrets map[string]string `yaml:"secrets" secret:"files"`
	// Umask is octal ("0027"); empty: stoker's own.
	Umask string `yaml:"umask" check:"umask"`
	// Rlimits are resource limits by name ("nofile"): "1024", "1024:4096" (soft
	// and hard) or "unlimited".
	Rlimits map[string]string `yaml:"rlimits" check:"rlimits"`
	// Nice is -20 to 19; absent: stoker's own.
	Nice *int `yaml:"nice" check:"between -20 19"`
	// IONice is "idle", "best-effort", "best-effort:0" to ":7" or "realtime:0" to
	// ":7"; empty: stoker's own.
	IONice string `yaml:"ionice" check:"ionice"`
	// OOMScoreAdj is -1000 to 1000; absent: above stoker's own.
	OOMScoreAdj *int `yaml:"oom_score_adj" check:"between -1000 1000"`
	// DropCapabilities are taken from the process for good: "NET_RAW", or "ALL".
	DropCapabilities []string `yaml:"drop_capabilities" check:"capability"`
	// NoNewPrivileges keeps set-user-ID programs from giving any.
	NoNewPrivileges bool   `yaml:"no_new_privileges"`
	Cgroup          Cgroup `yaml:"cgroup"`
}

// Cgroup asks for a cgroup of the service's own, with limits below the
// container's. Where the cgroup file system cannot be written the service runs
// without, and the status says so.
type Cgroup struct {
	// Own makes one also without limits: its processes are then found and ended
	// whatever they do.
	Own    bool    `yaml:"own"`
	CPUs   float64 `yaml:"cpus"`                // 0: no limit of its own
	Memory string  `yaml:"memory" check:"size"` // "512MiB"; empty: no limit of its own
}
