package supervisor

// rule is what an event does in a state, and where that leads. An event without a rule has no effect.
type rule struct {
	do    func(*Service, event) // nil: nothing
	leads string
}

func plain(f func(*Service)) func(*Service, event) {
	return func(s *Service, _ event) { f(s) }
}

// afterExit is what follows the end of a process that was not requested.
const afterExit = "BACKOFF; FATAL past the limit; EXITED by policy; STARTING if the next start is another variant; " +
	"STOPPING first if it left processes behind"

// stateRules are the transitions of each state. Those of STOPPING come behind phaseRules.
var stateRules = map[State]map[Event]rule{
	Stopped: {
		EvStart:        {(*Service).start, "STARTING, counters 0"},
		EvStop:         {(*Service).enterStopped, "STOPPED"},
		EvRestart:      {(*Service).start, "STARTING, counters 0"},
		EvReconfigured: {plain((*Service).save), "STOPPED"},
	},
	Exited: {
		EvStart:        {(*Service).start, "STARTING, counters 0"},
		EvStop:         {(*Service).enterStopped, "STOPPED"},
		EvRestart:      {(*Service).start, "STARTING, counters 0"},
		EvReconfigured: {plain((*Service).save), "EXITED"},
	},
	Backoff: retriedRules,
	Fatal:   retriedRules,
	Starting: {
		EvStart:        {nil, "STARTING"},
		EvStop:         {(*Service).requestStop, "STOPPING, or STOPPED where there is no process yet"},
		EvRestart:      {(*Service).requestRestart, "STOPPING, then STARTING"},
		EvReconfigured: {(*Service).applyConfig, "STARTING; STOPPING, then STARTING if the process must be started differently"},
		EvUnblocked:    {plain((*Service).unblockStart), "STARTING: the pre-start hooks run"},
		EvHooksDone: {(*Service).startHooksDone,
			"STARTING: what to start is found out; BACKOFF, FATAL or EXITED if a hook forbids it"},
		EvPrepared:     {(*Service).prepared, "STARTING: the process runs"},
		EvSpawnFailed:  {(*Service).prepared, "BACKOFF; FATAL past the limit; EXITED by policy"},
		EvAttached:     {(*Service).attached, "STARTING"},
		EvReady:        {plain((*Service).ready), "RUNNING"},
		EvNotReady:     {(*Service).notReady, "STARTING"},
		EvDebugger:     {(*Service).debuggerChanged, "STARTING: its deadline is suspended meanwhile"},
		EvFailureFound: {(*Service).failureFound, "STOPPING, then BACKOFF"},
		EvHealthIssue:  {(*Service).healthIssueAtStart, "STOPPING, then BACKOFF if it makes the service unhealthy"},
		EvExited:       {(*Service).exited, afterExit},
		EvDeadline:     {plain((*Service).startTimedOut), "STOPPING, then BACKOFF"},
	},
	Running: {
		EvStart:        {nil, "RUNNING"},
		EvStop:         {(*Service).requestStop, "STOPPING"},
		EvRestart:      {(*Service).requestRestart, "STOPPING, then STARTING"},
		EvReconfigured: {(*Service).applyConfig, "RUNNING; STOPPING, then STARTING if the process must be started differently"},
		EvAttached:     {(*Service).attached, "RUNNING"},
		EvLiveFailed: {(*Service).liveFailed,
			"RUNNING; after live.failures by live.then: STOPPING, then BACKOFF, or the container ends"},
		EvLiveOK:   {plain((*Service).liveOK), "RUNNING"},
		EvDebugger: {(*Service).debuggerChanged, "RUNNING: failed liveness probes are only reported meanwhile"},
		EvHealthIssue: {(*Service).healthIssue,
			"RUNNING; if it makes the service unhealthy by live.then: STOPPING, then BACKOFF, or the container ends"},
		EvExited:   {(*Service).exited, afterExit},
		EvDeadline: {plain((*Service).stable), "RUNNING: stable, counters 0"},
	},
	Stopping: {
		EvStart:        {plain((*Service).startAfterStop), "STOPPING, then STARTING"},
		EvStop:         {(*Service).requestStop, "STOPPING, then STOPPED"},
		EvRestart:      {(*Service).requestRestart, "STOPPING, then STARTING"},
		EvReconfigured: {plain((*Service).save), "STOPPING"},
		EvAttached:     {(*Service).attached, ""},
		EvExited:       {(*Service).exited, "STOPPING: the rest of its processes must end too"},
		EvGroupEmpty:   {plain((*Service).groupEmpty), "STOPPED, STARTING or BACKOFF: what was to follow"},
	},
}

var retriedRules = map[Event]rule{
	EvStart:        {(*Service).start, "STARTING, counters 0"},
	EvStop:         {(*Service).enterStopped, "STOPPED"},
	EvRestart:      {(*Service).start, "STARTING, counters 0"},
	EvReconfigured: {(*Service).retryWithConfig, "STARTING if the process would be started differently"},
	EvDeadline:     {plain((*Service).restart), "STARTING"},
}

// phaseRule is what an event does in a phase of STOPPING.
type phaseRule struct {
	phase Phase
	event Event
	rule
}

const (
	terminates  = "STOPPING (stop command), or (signal sent) without one"
	endsAndThen = "STOPPING (requests end), else (stop command) or (signal sent)"
)

// phaseRules are the transitions between the phases of STOPPING. Without a row here an event has the rule of its state.
var phaseRules = []phaseRule{
	{PhaseBegin, EvAttached, rule{(*Service).attached, endsAndThen}},
	{PhaseBegin, EvDeadline, rule{plain((*Service).endRequests), endsAndThen}},
	{PhaseWaiting, EvUnblocked, rule{plain((*Service).unblockStop), "STOPPING (pre-stop hooks)"}},
	{PhaseWaiting, EvDeadline, rule{plain((*Service).beginStop), "STOPPING (pre-stop hooks)"}},
	{PhaseHooks, EvHooksDone, rule{(*Service).stopHooksDone, "STOPPING (drains)"}},
	{PhaseHooks, EvDeadline, rule{plain(func(s *Service) { s.cutHooks("they take too long") }), "STOPPING (drains)"}},
	{PhaseDrain, EvDeadline, rule{plain((*Service).dumpIfHung),
		"STOPPING (thread dump of a hang), else (requests end), (stop command) or (signal sent)"}},
	{PhaseHangDump, EvDeadline, rule{plain((*Service).terminate), terminates}},
	{PhaseRequests, EvAttached, rule{(*Service).attached, "STOPPING (requests end), which is asked for again"}},
	{PhaseRequests, EvRequestsEnded, rule{(*Service).requestsEnded, terminates}},
	{PhaseRequests, EvDeadline, rule{plain(func(s *Service) { s.cutRequests("it does not answer") }), terminates}},
	{PhaseCommand, EvAttached, rule{(*Service).attached, "STOPPING (stop command), which is run again"}},
	{PhaseCommand, EvStopCommandDone, rule{(*Service).stopCommandDone, "STOPPING (stop command done); (signal sent) if it failed"}},
	{PhaseCommand, EvDeadline, rule{plain((*Service).stopCommandTimedOut), "STOPPING (signal sent)"}},
	{PhaseCommandDone, EvDeadline, rule{plain((*Service).stopCommandTimedOut), "STOPPING (signal sent)"}},
	{PhaseSignal, EvDeadline, rule{plain((*Service).killDeadline), "STOPPING (thread dump), or (killed) where none can be made"}},
	{PhaseDump, EvDeadline, rule{plain((*Service).killDeadline), "STOPPING (killed)"}},
	{PhaseKill, EvDeadline, rule{plain((*Service).killDeadline), "STOPPING (killed), again"}},
}

func ruleOf(st State, phase Phase, ev Event) rule {
	if st == Stopping {
		for _, r := range phaseRules {
			if r.phase == phase && r.event == ev {
				return r.rule
			}
		}
	}
	return stateRules[st][ev]
}
