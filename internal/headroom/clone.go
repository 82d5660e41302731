//go:build amd64 || arm64

package headroom

// cloneExit is vfork(2) and, in the child, nothing but _exit(2). A fork(2) would copy
// the page tables each time, and the pages that we write to. It is in assembler because
// the child may not return: it would write over the stack that we return by. The pid is
// a negative errno where there is none.
func cloneExit() (pid uintptr)
