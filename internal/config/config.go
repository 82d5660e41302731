// Package config is stoker's configuration: its schema, defaults and checks. The schema is
// Config, made of the Config of each package; its field tags are those of package
// layeredyaml. Reading, merging and showing is layeredyaml's, applying the daemon's.
package config

import (
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/mesos"
	"github.com/stoker-init/stoker/executor/natsjob"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/supervisor"
)

// Kinds of service.
const (
	KindProcess = "process"
	KindJava    = "java"
	KindTomcat  = "tomcat"
)

// Config is the whole configuration after all layers are merged.
type Config struct {
	// Main is the main service, whose end decides the container's exit code; empty: the
	// only service that is no oneshot, or the only one of kind tomcat.
	Main     string             `yaml:"main"`
	Services map[string]Service `yaml:"services" change:"-"`
	JVM      jvm.Config         `yaml:"jvm" change:"jvm"`
	API      api.Config         `yaml:"api"`
	Stop     Stop               `yaml:"stop"`
	// OnFatal is what follows when a service is FATAL: stay (default) or exit. An
	// essential service always ends the container.
	OnFatal string            `yaml:"on_fatal" default:"stay" check:"oneof stay exit"`
	Log     Log               `yaml:"log"`
	Reload  Reload            `yaml:"reload"`
	Plugins plugin.Config     `yaml:"plugins"`
	Labels  map[string]string `yaml:"labels"`
	Hooks   hooks.Config      `yaml:"hooks"`
	// Netinit configures the container's network.
	Netinit netinit.Config `yaml:"netinit" default:"-"`
	// Executor runs jobs.
	Executor Executor `yaml:"executor"`
	// Console is the sessions of operators.
	Console console.Config `yaml:"console"`
}

// Executor is the section executor: the jobs, and what brings them.
type Executor struct {
	executor.Config `yaml:",inline"`
	// Schedules submit jobs at times, by name.
	Schedules map[string]schedule.Config `yaml:"schedules"`
	// NATS brings jobs from a JetStream consumer.
	NATS natsjob.Config `yaml:"nats"`
	// Mesos brings the tasks of the Mesos agent that started the container.
	Mesos mesos.Config `yaml:"mesos"`
}

// Service is one service: how it is supervised, and its kind.
type Service struct {
	Kind              string `yaml:"kind" default:"process" check:"oneof process java tomcat"`
	supervisor.Config `yaml:",inline"`
	Tomcat            tomcat.Config `yaml:"tomcat" default:"-"`
	Java              Java          `yaml:"java"`
}

// Java is the java section of a service of kind java: exactly one of Jar and
// Main is set.
type Java struct {
	Home      string   `yaml:"home" check:"literal"`      // JAVA_HOME or a java binary; empty: found
	Jar       string   `yaml:"jar" check:"literal"`       // -jar
	Main      string   `yaml:"main" check:"literal"`      // main class
	Classpath []string `yaml:"classpath" check:"literal"` // -cp, joined with ':'
	Args      []string `yaml:"args" check:"literal"`      // the program's own arguments
}

// Stop bounds the whole shutdown.
type Stop struct {
	Timeout time.Duration `yaml:"timeout" default:"8s" check:"positive"`
}

// Log is stoker's own log.
type Log struct {
	Level string `yaml:"level" default:"info" check:"oneof debug info warn error"`
}

// Reload says when a changed configuration is loaded. The signal HUP always loads it.
type Reload struct {
	// Watch loads it when its files change (default true).
	Watch *bool `yaml:"watch" default:"true"`
}
