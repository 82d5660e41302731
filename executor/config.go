package executor

import "time"

// Config is the section executor.
type Config struct {
	// Slots is the number of jobs that run at a time; 0: there is no executor, or, after a reload, it accepts and starts no more.
	Slots int `yaml:"slots" check:"notnegative"`
	// Queue is the number of accepted jobs that may wait; more are refused.
	Queue int `yaml:"queue" default:"100" check:"positive"`
	// Journal is the folder of the journal, of outputs and artifacts.
	Journal string `yaml:"journal" default:"/var/lib/stoker/jobs" check:"absolute" change:"container"`
	// Workspace is the folder of the workspaces; empty: a folder in Journal.
	Workspace string `yaml:"workspace" check:"absolute" change:"container"`
	// User runs jobs that name none and have no context; empty: stoker's own.
	User string `yaml:"user" check:"user"`
	// Timeout, StopGrace, OutputCap and WorkspaceCap are the defaults of a job.
	Timeout      time.Duration `yaml:"timeout" default:"1h" check:"positive"`
	StopGrace    time.Duration `yaml:"stop_grace" default:"5s" check:"positive"`
	OutputCap    string        `yaml:"output_cap" default:"1MiB" check:"size"`
	WorkspaceCap string        `yaml:"workspace_cap" default:"1GiB" check:"size"`
	// Keep bounds what is kept of jobs that have ended.
	Keep Keep `yaml:"keep"`
	// Classes are limits for jobs that name a class.
	Classes map[string]Class `yaml:"classes"`
	// Brake pauses the queue after so many infrastructure failures in a row.
	Brake int `yaml:"brake" default:"5" check:"positive"`
}

// Keep bounds what is kept of jobs that have ended; the oldest go first.
type Keep struct {
	For  time.Duration `yaml:"for" default:"168h" check:"positive"`
	Jobs int           `yaml:"jobs" default:"100000" check:"positive"`
	Size string        `yaml:"size" default:"1GiB" check:"size"`
}

// Class limits the jobs of a class.
type Class struct {
	Slots int `yaml:"slots" check:"notnegative"` // 0: as many as there are
	Queue int `yaml:"queue" check:"notnegative"` // 0: as many as there may be
	// Priority is that of a job which has none of its own.
	Priority int `yaml:"priority" check:"between -100 100"`
}
