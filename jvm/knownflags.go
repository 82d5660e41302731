package jvm

// otherFlags are in the form of flagTable, and in no list: of the port to aarch64; of
// vendors' own builds (CRaC, Dragonwell, SapMachine, Kona); and another name of
// CreateCoredumpOnCrash.
func otherFlags() string {
	return `bool:pppppp UseBlockZeroing UseCRC32 UseLSE UseNeon UseSIMDForMemoryOps UseSIMDForArrayEquals UseSimpleArrayEquals TraceTraps
bool:pppppp AvoidUnalignedAccesses UseCryptoPmullForCRC32 CreateMinidumpOnCrash
int:pppppp BlockZeroingLowLimit SoftwarePrefetchHintDistance UseSVE OnSpinWaitInstCount
text:pppppp OnSpinWaitInst UseBranchProtection
any:pppppp CRaCCheckpointTo CRaCRestoreFrom CRaCEngine CRaCEngineOptions CRaCIgnoreRestoreIfUnavailable CRaCMinPid CREngine UseWisp UseWisp2
any:pppppp UseWispMonitor EnableCoroutine WispCarrierEngines UseElasticHeap EnableVitals VitalsFile DumpVitalsAtExit StoreVitalsAtExit
any:pppppp HiMemReport MallocTraceAtExit UseKonaFiber TenantHeapThrottling MultiTenant TenantHeapIsolation TenantCpuThrottling RichOOM
`
}
