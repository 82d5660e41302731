<%@ page contentType="text/plain; charset=UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="com.sun.management.HotSpotDiagnosticMXBean, java.io.File, java.io.InputStream, java.lang.management.BufferPoolMXBean,
                 java.lang.management.ManagementFactory, java.lang.management.MemoryPoolMXBean, java.nio.ByteBuffer,
                 java.util.ArrayList, java.util.Collections, java.util.Enumeration, java.util.HashSet, java.util.LinkedHashMap,
                 java.util.List, java.util.Map, java.util.Set, java.util.concurrent.ConcurrentHashMap,
                 java.util.concurrent.atomic.AtomicLong, java.util.jar.JarEntry, java.util.jar.JarFile" %>
<%--
  fill.jsp?what=heap|direct|stacks|metaspace takes a little more of one region with
  each request and never gives it back. "mixed" takes of one after the other. "all" takes the stack of its thread, and of
  the region that is least filled, so that all are full at the same time. The answer
  says what was taken, or "out of ..." where the JVM lives on without giving more.
--%>
<%!
  static final int MIB = 1 << 20, PIECE = 64 << 10;
  static final List<Object> kept = Collections.synchronizedList(new ArrayList<>());
  static final AtomicLong heapTaken = new AtomicLong();
  static final Set<String> full = new HashSet<>();
  static final Set<Long> deepened = ConcurrentHashMap.newKeySet();

  /** A 256th of the heap, in pieces that fill a region of G1 to its end: 16 bytes are an array's header. */
  static String heap() {
    long much = Math.max(Runtime.getRuntime().maxMemory() / 256, MIB);
    for (long n = 0; n < much; n += PIECE) {
      kept.add(new byte[PIECE - 16]);
      heapTaken.addAndGet(PIECE);
    }
    return "heap";
  }

  static boolean directIsFull;

  /** allocateDirect writes zeros to every page. Refusing takes it a second and a collection: once is enough. */
  static synchronized String direct() {
    if (directIsFull) return "out of direct";
    directIsFull = true;
    kept.add(ByteBuffer.allocateDirect(MIB));
    directIsFull = false;
    return "direct";
  }

  static int deep(int depth, long a, long b, long c) {
    try {
      return deep(depth + 1, b, c, a);
    } catch (StackOverflowError end) {
      return depth;
    }
  }

  /** What was touched of a stack stays the process's as long as the thread lives. */
  static String stacks(long hold) throws InterruptedException {
    int depth = deep(0, 1, 2, 3);
    Thread.sleep(hold); // so that the connector needs all of its threads
    return "stacks: depth " + depth;
  }

  static Map<String, byte[]> classes;

  static synchronized Map<String, byte[]> classes() throws Exception {
    if (classes != null) return classes;
    Map<String, byte[]> found = new LinkedHashMap<>();
    try (JarFile jar = new JarFile(new File(System.getProperty("catalina.home"), "lib/catalina.jar"))) {
      for (Enumeration<JarEntry> e = jar.entries(); e.hasMoreElements();) {
        JarEntry entry = e.nextElement();
        String name = entry.getName();
        if (!name.startsWith("org/apache/catalina/core/") || !name.endsWith(".class")) continue;
        try (InputStream in = jar.getInputStream(entry)) {
          found.put(name.substring(0, name.length() - 6).replace('/', '.'), in.readAllBytes());
        }
      }
    }
    return classes = found;
  }

  /** What a redeployment leaks: classes that are there already, once more. */
  static class Again extends ClassLoader {
    Again() { super(Again.class.getClassLoader()); }

    @Override protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
      byte[] code = classes.get(name);
      if (code == null) return super.loadClass(name, resolve);
      Class<?> loaded = findLoadedClass(name);
      return loaded != null ? loaded : defineClass(name, code, 0, code.length);
    }
  }

  static String metaspace() throws Exception {
    ClassLoader again = new Again();
    kept.add(again);
    for (String name : classes().keySet()) again.loadClass(name);
    return "metaspace";
  }

  static final AtomicLong asked = new AtomicLong();

  static String take(String what, long hold) throws Exception {
    switch (what) {
      case "mixed":
        return take(new String[] {"heap", "stacks", "direct", "metaspace"}[(int) (asked.getAndIncrement() % 4)], hold);
      case "heap": return heap();
      case "direct": return direct();
      case "metaspace": return metaspace();
      case "stacks": return stacks(hold);
      default: throw new IllegalArgumentException("what=" + what);
    }
  }

  static double share(String what) {
    switch (what) {
      case "heap":
        return (double) heapTaken.get() / Runtime.getRuntime().maxMemory();
      case "direct":
        for (BufferPoolMXBean pool : ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class)) {
          if (!pool.getName().equals("direct")) continue;
          long most = Long.parseLong(ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class)
              .getVMOption("MaxDirectMemorySize").getValue());
          return (double) pool.getMemoryUsed() / (most > 0 ? most : Runtime.getRuntime().maxMemory());
        }
        return 1;
      default:
        for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
          if (!pool.getName().equals("Metaspace")) continue;
          long most = pool.getUsage().getMax();
          return (double) pool.getUsage().getCommitted() / (most > 0 ? most : 256 * MIB); // without a cap it has no end
        }
        return 1;
    }
  }

  static String all() throws Exception {
    if (deepened.add(Thread.currentThread().getId())) stacks(0);
    synchronized (full) {
      String least = null;
      double filled = 0;
      for (String what : new String[] {"heap", "direct", "metaspace"}) {
        double share = share(what);
        if (share > 0.93 && !what.equals("heap")) share++; // the heap is to be full before anything ends the JVM
        if (!full.contains(what) && (least == null || share < filled)) {
          least = what;
          filled = share;
        }
      }
      if (least == null) return "out of everything";
      try {
        return take(least, 0);
      } catch (OutOfMemoryError e) {
        full.add(least);
        throw e;
      }
    }
  }
%>
<%
  String what = String.valueOf(request.getParameter("what"));
  try {
    out.println(what.equals("all") ? all() : take(what, 20));
  } catch (OutOfMemoryError e) {
    out.println("out of " + what + ": " + e.getMessage());
  }
%>
