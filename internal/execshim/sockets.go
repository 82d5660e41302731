package execshim

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstSocketFD is where the protocol of sd_listen_fds(3) wants the first socket.
const firstSocketFD = 3

// moveSockets moves the sockets to where the program looks for them. The shim's own descriptors are in the way: the orders are read, and
// reports go to reportTo from here on.
func (o *Orders) moveSockets() (reportTo int, err error) {
	end := FirstFreeFD + len(o.Sockets)
	reportTo, err = unix.FcntlInt(reportFD, unix.F_DUPFD_CLOEXEC, end)
	if err != nil {
		return reportFD, err
	}
	for k := range o.Sockets {
		if err := unix.Dup3(FirstFreeFD+k, firstSocketFD+k, 0); err != nil {
			return reportTo, err
		}
	}
	for fd := firstSocketFD + len(o.Sockets); fd < end; fd++ {
		_ = unix.Close(fd)
	}
	return reportTo, nil
}

// withSockets returns an environment that tells the program about its sockets. What stoker itself was started with is not the program's.
func (o *Orders) withSockets(environ []string) []string {
	out := make([]string, 0, len(environ)+3)
	for _, kv := range environ {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES":
		default:
			out = append(out, kv)
		}
	}
	return append(out, "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS="+strconv.Itoa(len(o.Sockets)),
		"LISTEN_FDNAMES="+strings.Join(o.Sockets, ":"))
}
