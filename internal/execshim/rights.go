package execshim

import (
	"fmt"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Rights are what the kernel lets a process do beyond its uid.
type Rights struct {
	Permitted, Bounding Capabilities
	NoNewPrivileges     bool
}

// ReadRights gives those of a process, as /proc shows them for its main thread.
func ReadRights(pid int) (Rights, error) {
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return Rights{}, fmt.Errorf("cannot read the capabilities of pid %d: %w", pid, untrusted.Cause(err))
	}
	permitted, err1 := status.Mask("CapPrm")
	bounding, err2 := status.Mask("CapBnd")
	if err1 != nil || err2 != nil || status["NoNewPrivs"] == "" {
		return Rights{}, fmt.Errorf("cannot read the capabilities of pid %d: %s lacks them", pid, procfs.Path(pid, "status"))
	}
	return Rights{Capabilities(permitted), Capabilities(bounding), status["NoNewPrivs"] != "0"}, nil
}

// Lacks says what the rights are short of others; empty: nothing.
func (r Rights) Lacks(than Rights) string {
	switch {
	case r.NoNewPrivileges && !than.NoNewPrivileges:
		return "it has no_new_privs"
	case than.Permitted&^r.Permitted != 0 || than.Bounding&^r.Bounding != 0:
		return "it lacks " + (than.Permitted&^r.Permitted | than.Bounding&^r.Bounding).String()
	}
	return ""
}
