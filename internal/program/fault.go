package program

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Fault is what is wrong with a program's file, where execve(2) gives a number only.
type Fault struct {
	Why  string // of the file: "its interpreter /bin/bash is not here"; empty: nothing can be seen
	Hint string // what to do; empty: that is plain
}

// maxFirstLine bounds what is read of a script, in bytes: what the kernel reads.
const maxFirstLine = 256

// endsWithReturn begins the Why of a script with a carriage return behind its #! line.
const endsWithReturn = "its first line ends with a carriage return"

// ScriptFault looks at the first line of a script. Of any other file that is not empty
// it says nothing: what kinds there are only the kernel knows.
func ScriptFault(path string) Fault {
	f, head := openProgram(path)
	if f == nil {
		return Fault{} // it can be executable and not readable
	}
	defer f.Close()
	return scriptFault(path, head)
}

// Interpreter is the program that the first line of a script names; empty: the file is
// no script, or cannot be read.
func Interpreter(path string) string {
	f, head := openProgram(path)
	if f == nil {
		return ""
	}
	defer f.Close()
	line, script := bytes.CutPrefix(head, []byte("#!"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	if words := strings.Fields(string(line)); script && len(words) > 0 {
		return words[0]
	}
	return ""
}

// openProgram opens a regular file, and reads its beginning.
func openProgram(path string) (f *os.File, head []byte) {
	f, err := untrusted.Open(path)
	if err != nil {
		return nil, nil
	}
	head = make([]byte, maxFirstLine)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, nil
	}
	return f, head[:n]
}

func scriptFault(path string, head []byte) Fault {
	line, script := bytes.CutPrefix(head, []byte("#!"))
	switch {
	case script:
		line, _, _ = bytes.Cut(line, []byte("\n"))
		return interpreterFault(path, string(line))
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf#!")):
		return Fault{"it begins with a byte order mark before its #!", "save it as UTF-8 without one"}
	case len(head) == 0:
		return Fault{"it is empty", ""}
	}
	return Fault{}
}

func interpreterFault(path, line string) Fault {
	if strings.HasSuffix(line, "\r") {
		return Fault{endsWithReturn + ", it has Windows line ends", fmt.Sprintf(`sed -i 's/\r$//' %s`, path)}
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return Fault{"its #! line names no interpreter", "begin it with #!/bin/sh or the like"}
	}
	info, err := os.Stat(words[0])
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Fault{fmt.Sprintf("its interpreter %s is not here", words[0]), "install it, or name another one in the #! line"}
	case err == nil && (info.IsDir() || info.Mode().Perm()&0o111 == 0):
		return Fault{fmt.Sprintf("its interpreter %s is not a program", words[0]), "name another one in the #! line"}
	}
	return Fault{} // it cannot be seen from here; the kernel decides
}

// programFault looks for why the kernel did not execute a file.
func programFault(path string, err error) Fault {
	switch {
	case errors.Is(err, syscall.EISDIR):
		return Fault{"", "name the program in it"}
	case errors.Is(err, syscall.ETXTBSY):
		return Fault{"it is still open for writing", ""}
	case errors.Is(err, syscall.EAGAIN):
		return Fault{"no process can be created", "look at pids.max and RLIMIT_NPROC"}
	}
	var st unix.Statfs_t
	if errors.Is(err, syscall.EACCES) && unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0 {
		return Fault{"its file system is mounted noexec", "put it elsewhere, or have its interpreter run it: [sh, FILE]"}
	}
	if info, statErr := os.Stat(path); errors.Is(err, syscall.EACCES) && statErr == nil && info.Mode().Perm()&0o111 == 0 {
		return Fault{fmt.Sprintf("its mode is %04o", info.Mode().Perm()), "chmod +x " + path}
	}
	f, head := openProgram(path)
	if f == nil {
		return Fault{}
	}
	defer f.Close()
	if fault := scriptFault(path, head); fault.Why != "" {
		return fault
	}
	if bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return elfFault(f)
	}
	switch {
	case !errors.Is(err, syscall.ENOEXEC):
		return Fault{}
	case bytes.IndexByte(head, 0) >= 0:
		return Fault{"it is no program of this machine", ""}
	}
	return Fault{"it has no #! line", "begin a script with #!/bin/sh"}
}

// machines are the ELF machines of Go's architectures that have one.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV}

// elfFault compares a program with this machine.
func elfFault(r io.ReaderAt) Fault {
	f, err := elf.NewFile(r)
	if err != nil {
		return Fault{"its file is damaged: " + err.Error(), ""}
	}
	name := func(m elf.Machine) string { return strings.ToLower(strings.TrimPrefix(m.String(), "EM_")) }
	if own, known := machines[runtime.GOARCH]; known && f.Machine != own {
		return Fault{fmt.Sprintf("it is a program for %s, and this machine is %s", name(f.Machine), name(own)),
			"use an image of this architecture"}
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader := make([]byte, min(p.Filesz, maxFirstLine))
		n, _ := p.ReadAt(loader, 0)
		path := strings.TrimRight(string(loader[:n]), "\x00")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return Fault{fmt.Sprintf("its loader %s is not here", path), "it was built for another C library (glibc or musl)"}
		}
	}
	return Fault{}
}
