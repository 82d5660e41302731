package procfs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Socket is a TCP socket of a network namespace that listens or is connected.
type Socket struct {
	Inode   string // as EachFD shows it: "socket:[INODE]"
	UID     int
	Listens bool
	Local   int // port
	Remote  int // port; 0: it listens
}

// maxSockets bounds the TCP sockets that are returned of a network namespace.
const maxSockets = 50_000

// TCPSockets lists the sockets in the network namespace of a process that want accepts;
// nil accepts all. The tables have one line a socket: field 2 is the local address in
// hexadecimal, 3 the remote one, 4 the state, 8 the uid, 10 the inode.
func TCPSockets(pid int, want func(Socket) bool) (out []Socket, err error) {
	const listens, connected = "0A", "01"
	for _, table := range []string{"tcp", "tcp6"} {
		readErr := eachLine(Path(pid, "net/"+table), func(line string) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listens && f[3] != connected || len(out) > maxSockets {
				return
			}
			uid, uidErr := strconv.Atoi(f[7])
			s := Socket{"socket:[" + f[9] + "]", uid, f[3] == listens, tcpPort(f[1]), tcpPort(f[2])}
			if uidErr == nil && (want == nil || want(s)) {
				out = append(out, s)
			}
		})
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = readErr
		}
	}
	if len(out) > maxSockets {
		return nil, fmt.Errorf("there are more than %d", maxSockets)
	}
	return out, err
}

// UnixListeners lists the sockets in the network namespace of a process that listen at a
// path.
func UnixListeners(pid int, path string) (out []Socket, err error) {
	const listens = "00010000" // __SO_ACCEPTCON
	err = eachUnix(pid, path, func(flags, _, inode string) {
		if flags == listens {
			out = append(out, Socket{Inode: "socket:[" + inode + "]", UID: -1, Listens: true})
		}
	})
	return out, err
}

// UnixWaiting counts the connections to a path that the listening process has not accepted:
// their sockets have no inode yet.
func UnixWaiting(pid int, path string) (n int, err error) {
	const connecting = "02" // SS_CONNECTING
	err = eachUnix(pid, path, func(_, state, inode string) {
		if state == connecting && inode == "0" {
			n++
		}
	})
	return n, err
}

// eachUnix goes through the unix sockets of a path in the network namespace of a process: field
// 4 is the flags, 6 the state, 7 the inode, and the rest of the line is the path.
func eachUnix(pid int, path string, f func(flags, state, inode string)) error {
	return eachLine(Path(pid, "net/unix"), func(text string) {
		line, at, ok := strings.Cut(text, " /")
		if fields := strings.Fields(line); ok && "/"+at == path && len(fields) >= 7 {
			f(fields[3], fields[5], fields[6])
		}
	})
}

// tcpPort is the port of an address in the tables; 0: none.
func tcpPort(address string) int {
	n, err := strconv.ParseUint(address[strings.LastIndexByte(address, ':')+1:], 16, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// eachLine goes through a table of any size without holding it in memory.
func eachLine(path string, f func(line string)) error {
	table, err := os.Open(path)
	if err != nil {
		return err
	}
	defer table.Close()
	s := bufio.NewScanner(table)
	for s.Scan() {
		f(s.Text())
	}
	return s.Err()
}
