package jvm

// flagChanges is the history of -XX flags between Java 8 and 25. The versions
// come from HotSpot's own tables of special flags (arguments.cpp of 10, 11, 14,
// 17 and 21) and from trying 17 and 25; where only those say that a flag is
// gone, the number is that of the version that was tried.
func flagChanges() []change {
	const unified = "use -Xlog:gc* instead"
	return []change{
		{names: "PermSize", ignored: 8, gone: 17, instead: "use MetaspaceSize instead"},
		{names: "MaxPermSize", ignored: 8, gone: 17, instead: "use MaxMetaspaceSize instead"},
		{names: "UseCGroupMemoryLimitForHeap", deprecated: 10, gone: 11, instead: "leave it out: limits are respected"},
		{names: "MaxRAMFraction DefaultMaxRAMFraction", deprecated: 10, gone: 25, instead: "use MaxRAMPercentage instead"},
		{names: "MinRAMFraction", deprecated: 10, gone: 25, instead: "use MinRAMPercentage instead"},
		{names: "InitialRAMFraction", deprecated: 10, gone: 25, instead: "use InitialRAMPercentage instead"},
		{names: "UseContainerCpuShares PreferContainerQuotaForCPUCount", gone: 21, instead: "use ActiveProcessorCount instead"},
		{names: "UnlockCommercialFeatures", gone: 11},
		{names: "FlightRecorder", deprecated: 13, instead: "use -XX:StartFlightRecording alone"},
		{names: "UseSplitVerifier", gone: 17},

		// Collectors.
		{names: "UseConcMarkSweepGC", deprecated: 9, ignored: 14, gone: 15, instead: "use UseG1GC instead"},
		{names: "UseParNewGC", deprecated: 9, gone: 10, instead: "use UseG1GC instead"},
		{names: "UseParallelOldGC", deprecated: 14, ignored: 15, gone: 16, instead: "use UseParallelGC instead"},
		{names: "CMSIncrementalMode CMSIncrementalDutyCycle CMSIncrementalDutyCycleMin CMSIncrementalOffset CMSIncrementalPacing " +
			"UseCMSCompactAtFullCollection CMSFullGCsBeforeCompaction UseCMSCollectionPassing", gone: 10, instead: "use UseG1GC instead"},
		{names: flagsOfCMS, ignored: 14, gone: 15, instead: "use UseG1GC instead"},
		{names: "UseZGC UseEpsilonGC", since: 11},
		{names: "ZGenerational", since: 21, deprecated: 23, ignored: 24, gone: 26},
		{names: "G1ConcRefinementGreenZone G1ConcRefinementYellowZone G1ConcRefinementRedZone G1ConcRefinementThresholdStep " +
			"G1UseAdaptiveConcRefinement G1ConcRefinementServiceIntervalMillis", ignored: 20, gone: 25},
		{names: "G1UsePreventiveGC", ignored: 21, gone: 22},
		{names: "G1ConcRSLogCacheSize G1ConcRSHotCardLimit RefDiscoveryPolicy", ignored: 21, gone: 25},
		{names: "MetaspaceReclaimPolicy", ignored: 21},
		{names: "MaxGCMinorPauseMillis", deprecated: 8, gone: 25, instead: "use MaxGCPauseMillis instead"},
		{names: "ShenandoahPacing", deprecated: 25},
		{names: "ZMarkStackSpaceLimit", ignored: 25},

		// Unified logging (JEP 271 and 158) took these away.
		{names: "PrintGC", deprecated: 9, instead: "use -Xlog:gc instead"},
		{names: "PrintGCDetails", deprecated: 9, instead: unified},
		{names: "PrintGCDateStamps PrintGCTimeStamps PrintGCCause PrintGCTaskTimeStamps PrintHeapAtGC PrintHeapAtGCExtended " +
			"PrintAdaptiveSizePolicy PrintTenuringDistribution PrintPromotionFailure PrintReferenceGC PrintTLAB PrintPLAB PrintOldPLAB " +
			"PrintClassHistogramBeforeFullGC PrintClassHistogramAfterFullGC PrintParallelOldGCPhaseTimes PrintJNIGCStalls " +
			"PrintCMSInitiationStatistics PrintCMSStatistics PrintFLSCensus PrintFLSStatistics PrintStringDeduplicationStatistics " +
			"TraceDynamicGCThreads TraceGen0Time TraceGen1Time TraceMetadataHumongousAllocation TraceParallelOldGCTasks G1LogLevel", gone: 9, instead: unified},
		{names: "PrintGCApplicationStoppedTime PrintGCApplicationConcurrentTime", gone: 9, instead: "use -Xlog:safepoint instead"},
		{names: "UseGCLogFileRotation NumberOfGCLogFiles GCLogFileSize", gone: 9, instead: "use -Xlog:gc*:file=NAME::filecount=N,filesize=N instead"},
		{names: "TraceClassLoading TraceClassLoadingPreorder", deprecated: 9, gone: 17, instead: "use -Xlog:class+load instead"},
		{names: "TraceClassUnloading", deprecated: 9, gone: 17, instead: "use -Xlog:class+unload instead"},
		{names: "TraceClassResolution", deprecated: 9, gone: 17, instead: "use -Xlog:class+resolve=debug instead"},
		{names: "TraceExceptions", deprecated: 9, gone: 17, instead: "use -Xlog:exceptions instead"},
		{names: "TraceRedefineClasses", deprecated: 9, gone: 17, instead: "use -Xlog:redefine+class* instead"},
		{names: "TraceBiasedLocking TraceClassPaths TraceLoaderConstraints TraceMonitorInflation TraceSafepointCleanupTime " +
			"TraceJVMTIObjectTagging PrintSharedSpaces PrintCompressedOopsMode", deprecated: 9, gone: 17, instead: "use -Xlog instead"},
		{names: "PrintSafepointStatistics PrintSafepointStatisticsTimeout PrintSafepointStatisticsCount", deprecated: 11, ignored: 12, gone: 13,
			instead: "use -Xlog:safepoint instead"},

		{names: "AggressiveOpts AllowNonVirtualCalls UnlinkSymbolsALot CompilerThreadHintNoPreempt VMThreadHintNoPreempt", deprecated: 11, ignored: 12, gone: 13},
		{names: "ConvertSleepToYield ConvertYieldToSleep MinSleepInterval", deprecated: 9, ignored: 10, gone: 11},
		{names: "CheckAssertionStatusDirectives PrintMallocFree PrintMalloc ShowSafepointMsgs TraceScavenge UseUTCFileTimestamp UseAppCDS " +
			"InlineNotify EnableTracing UseLockedTracing NativeMonitorTimeout NativeMonitorSpinLimit NativeMonitorFlags", ignored: 11, gone: 12},
		{names: "FastTLABRefill SafepointSpinBeforeYield CheckEndorsedAndExtDirs DeferThrSuspendLoopCount DeferPollingPageLoopCount " +
			"MustCallLoadClassInternal UnsyncloadClass", deprecated: 10, ignored: 11, gone: 12},
		{names: "SharedReadWriteSize SharedReadOnlySize SharedMiscDataSize SharedMiscCodeSize", ignored: 10, gone: 17},
		{names: "UseMembar", deprecated: 10, ignored: 12, gone: 17},
		{names: "AssumeMP MonitorInUseLists IgnoreUnverifiableClassesDuringDump", deprecated: 10, gone: 17},
		{names: "AllowJNIEnvProxy ThreadLocalHandshakes CompilationPolicyChoice TraceNMethodInstalls", deprecated: 13, ignored: 14, gone: 15},
		{names: "FailOverToOldVerifier", ignored: 14, gone: 15},
		{names: "AllowRedefinitionToAddDeleteMethods", deprecated: 13},
		{names: "FieldsAllocationStyle CompactFields MonitorBound G1RSetScanBlockSize", deprecated: 14, ignored: 15, gone: 16},
		{names: "BindGCTaskThreadsToCPUs UseGCTaskAffinity GCTaskTimeStampEntries", ignored: 14, gone: 16},
		{names: "SuspendRetryCount SuspendRetryDelay AssertOnSuspendWaitFailure TraceSuspendWaitFailures", ignored: 17, gone: 18},
		{names: "UseBiasedLocking BiasedLockingStartupDelay BiasedLockingBulkRebiasThreshold BiasedLockingBulkRevokeThreshold " +
			"BiasedLockingDecayTime UseOptoBiasInlining PrintBiasedLockingStatistics PrintPreciseBiasedLockingStatistics", deprecated: 15, ignored: 18, gone: 19},
		{names: "CriticalJNINatives", deprecated: 16, ignored: 18, gone: 19},
		{names: "AlwaysLockClassLoader", deprecated: 17, ignored: 18, gone: 19},
		{names: "DumpSharedSpaces DynamicDumpSharedSpaces RequireSharedSpaces UseSharedSpaces", deprecated: 18, ignored: 19, instead: "use -Xshare instead"},
		{names: "EnableWaitForParallelLoad", since: 18, deprecated: 20, ignored: 21, gone: 22},
		{names: "TLABStats", deprecated: 12, gone: 25},
		{names: "CreateMinidumpOnCrash", deprecated: 9, instead: "use CreateCoredumpOnCrash instead"},
		{names: "LockingMode", deprecated: 24, since: 21},
		{names: "UseCompressedClassPointers UseOprofile", deprecated: 25},
		{names: "PerfDataSamplingInterval UseLinuxPosixThreadCPUClocks", ignored: 25},
		{names: flagsBefore17, gone: 17},
	}
}
