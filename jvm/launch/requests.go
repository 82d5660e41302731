package launch

import (
	"context"
	"errors"
	"time"

	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/drain"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// loadsAgents is the first feature release that prints a warning when an agent is loaded into a running JVM.
const loadsAgents = 21

// agentOption returns the option with which a JVM loads the agent of EndRequests without a warning; false: it needs none. It is there with
// stop.requests 0 too, which can change while the JVM runs.
func agentOption(major int) (o jvm.Option, needed bool) {
	return jvm.Option{Args: []string{"-XX:+EnableDynamicAgentLoading"}, Layer: jvm.Default, Source: "stop.requests", Generated: true,
		Why: "a stop loads an agent that ends requests, of which the JVM would warn"}, major >= loadsAgents
}

// EndRequests implements supervisor.Launch.EndRequests for Tomcat. It is an error if requests are left. ctx must have a deadline.
func (a *Attacher) EndRequests(ctx context.Context, p supervisor.Process) (summary string, err error) {
	if err := hotspot.Identify(p.Pid(), AsUserOf(p)); err != nil {
		return "", err
	}
	until, _ := ctx.Deadline()
	half, cancel := context.WithTimeout(ctx, time.Until(until)/2) // the rest is for the requests
	defer cancel()
	at, err := a.Attach(half, p)
	if err != nil {
		return "", err
	}
	left, err := drain.End(ctx, at)
	if err == nil && left.Requests > 0 {
		err = errors.New(left.String())
	}
	return left.String(), err
}
