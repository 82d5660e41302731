package program

import (
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
	text, ok := readHead(path)
	line, script := scriptLine(text)
	switch {
	case !ok: // it can be executable and not readable
	case script:
		return interpreterFault(path, line)
	case strings.HasPrefix(text, "\xef\xbb\xbf#!"):
		return Fault{"it begins with a byte order mark before its #!", "save it as UTF-8 without one"}
	case text == "":
		return Fault{"it is empty", ""}
	}
	return Fault{}
}

// Interpreter is the program that the first line of a script names; empty: the file is
// no script, or cannot be read.
func Interpreter(path string) string {
	text, _ := readHead(path)
	line, script := scriptLine(text)
	if words := strings.Fields(line); script && len(words) > 0 {
		return words[0]
	}
	return ""
}

// readHead reads the beginning of a regular file.
func readHead(path string) (text string, ok bool) {
	f, err := untrusted.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	data := make([]byte, maxFirstLine)
	n, err := f.ReadAt(data, 0)
	return string(data[:n]), err == nil || err == io.EOF
}

// scriptLine is what follows #! in the first line of a script.
func scriptLine(text string) (line string, script bool) {
	line, script = strings.CutPrefix(text, "#!")
	line, _, _ = strings.Cut(line, "\n")
	return line, script
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
	text, ok := readHead(path)
	if fault := ScriptFault(path); !ok || fault.Why != "" {
		return fault
	}
	switch {
	case strings.HasPrefix(text, elf.ELFMAG):
		return elfFault(path)
	case !errors.Is(err, syscall.ENOEXEC):
		return Fault{}
	case strings.Contains(text, "\x00"):
		return Fault{"it is no program of this machine", ""}
	}
	return Fault{"it has no #! line", "begin a script with #!/bin/sh"}
}

// machines are the ELF machines of Go's architectures that have one.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV}

// elfFault compares a program with this machine.
func elfFault(path string) Fault {
	file, err := untrusted.Open(path)
	if err != nil {
		return Fault{}
	}
	defer file.Close()
	f, err := elf.NewFile(file)
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
		name := strings.TrimRight(string(loader[:n]), "\x00")
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return Fault{fmt.Sprintf("its loader %s is not here", name), "it was built for another C library (glibc or musl)"}
		}
	}
	return Fault{}
}
