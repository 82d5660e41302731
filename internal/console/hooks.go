package console

import "github.com/stoker-init/stoker/internal/access"

// Auditor writes down what happens. Its methods are called for several sessions at a time.
type Auditor interface {
	// Begin is called before the process starts, so the Entry has no pid. Its error refuses the session.
	Begin(Entry) error
	// Attached is called for each client that attaches, but not for the one that has just opened the session, and for each that was
	// refused.
	Attached(Entry)
	// End is called at the end of a session, also of one that could not be started.
	End(Entry)
}

// Entry is one event of a session.
type Entry struct {
	Info
	Identity access.Identity // of the client: who opened it; of Attached, who attaches
	Mode     string          // of Attached: "hold", "view" or "take"
	Error    error           // why it was refused or could not be started; nil: it was not
}

// Recorder makes recordings.
type Recorder interface {
	// Create begins a recording. Its error refuses the session where recordings are required.
	Create(Info) (Recording, error)
	// Resume continues the recording of an earlier supervisor.
	Resume(name string) (Recording, error)
}

// Recording takes what a session shows. Its methods are called by several goroutines, and none waits long. Close is the last call.
type Recording interface {
	// Output's error ends a session that must be recorded, and says why.
	Output(p []byte) error
	Input(p []byte)
	Resize(rows, columns uint16)
	Close(Exit)
	// Name is what Resume and the API find it by.
	Name() string
}
