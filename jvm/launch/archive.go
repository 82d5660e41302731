package launch

import (
	"github.com/stoker-init/stoker/jvm/archive"
)

// Training says how a start of a service is made while an archive of it is made. Agents and the options of remote management are left out
// of every such start, and Tomcat's libraries are on its class path in those with an archive.
type Training struct {
	Step TrainingStep
	// File is the archive that the JVM writes, or uses without a check.
	File string
	// Options are added as the last ones of the JVM, such as a smaller heap.
	Options []string
	// Identified gets the identity and the version of Java of the service's ordinary starts, for archive.Keep; nil: not wanted.
	Identified func(id archive.Identity, major int)
}

// TrainingStep is one of the starts of a training.
type TrainingStep int

// The starts in their order.
const (
	TrainPlain  TrainingStep = iota // without an archive
	TrainRecord                     // the JVM writes it when it ends
	TrainUse                        // with it
)

// training returns how this start is made; nil: it is an ordinary one.
func (l *Launcher) training() *Training {
	if l.shared.Training == nil {
		return nil
	}
	return l.shared.Training(l.Name)
}
