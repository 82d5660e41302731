#include "textflag.h"

// func cloneExit() (pid uintptr)
TEXT ·cloneExit(SB), NOSPLIT, $0-8
	MOVL	$0x4100, DI // CLONE_VFORK|CLONE_VM, and no signal
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX // clone
	SYSCALL
	TESTQ	AX, AX
	JNZ	parent
	XORL	DI, DI
	MOVL	$231, AX // exit_group
	SYSCALL
	INT	$3

parent:
	MOVQ	AX, pid+0(FP)
	RET
