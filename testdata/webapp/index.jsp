<%@ page contentType="text/plain; charset=UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="java.lang.management.ManagementFactory, java.lang.management.RuntimeMXBean" %>
<%
  RuntimeMXBean vm = ManagementFactory.getRuntimeMXBean();
  Runtime runtime = Runtime.getRuntime();
  out.println("processors: " + runtime.availableProcessors());
  out.println("max-memory: " + runtime.maxMemory());
  out.println("max-memory-mib: " + runtime.maxMemory() / (1024 * 1024));
  out.println("java-version: " + System.getProperty("java.version"));
  out.println("pid: " + ProcessHandle.current().pid());
  out.println("uptime-ms: " + vm.getUptime());
  out.println("user: " + System.getProperty("user.name"));
  out.println("server: " + application.getServerInfo());
  for (String argument : vm.getInputArguments()) {
    out.println("argument: " + argument);
  }
%>
