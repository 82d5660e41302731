package mesos

// What follows when the agent is lost.
const (
	Exit   = "exit"   // the container ends
	Detach = "detach" // the application runs on, without tasks
)

// Config is the section executor.mesos.
type Config struct {
	// OnAgentLost is what follows when the agent shuts the executor down, or does not come back in time; empty: stoker is no executor
	// of Mesos.
	OnAgentLost string `yaml:"on_agent_lost" check:"oneof exit detach" change:"container"`
}
