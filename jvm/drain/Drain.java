package stoker;

import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolFamily;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.StandardProtocolFamily;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import javax.management.AttributeNotFoundException;
import javax.management.MBeanServer;
import javax.management.MBeanServerFactory;
import javax.management.ObjectName;

/**
 * An agent that ends the requests of a running Tomcat before it is stopped: it accepts no more connections, answers each request that still
 * comes with "Connection: close", and waits until no connection is left. It is loaded into Tomcats 9 to 11 on Java 8 to 28, and so calls
 * Tomcat by reflection alone.
 */
public final class Drain {
	/** The system property with the result: "CONNECTORS REQUESTS CONNECTIONS" (the latter two: left), or "failed CAUSE". */
	private static final String RESULT = "stoker.requests";

	/** How long idle connections are waited for, in ms: Tomcat does not know that they will be used again. */
	private static final long IDLE = 1000;

	/** The time between two checks of the connections, in ms. */
	private static final long EVERY = 10;

	private final List<Object> services = new ArrayList<>();
	private final List<Object> handlers = new ArrayList<>();
	private final List<Object> waiting = new ArrayList<>(); // endpoints whose acceptor waits for the limit
	private long requests;
	private long connections;

	/** Returns when no connection is left, when only idle ones have been left for a second, or after the milliseconds in args. */
	public static void agentmain(String args) {
		long from = System.nanoTime();
		Drain d = new Drain();
		try {
			d.find();
			d.close();
			d.await(from, Long.parseLong(args));
			d.pause();
			d.noSecondWait();
			System.setProperty(RESULT, d.handlers.size() + " " + d.requests + " " + d.connections);
		} catch (Throwable t) { // an agent that throws prints its stack trace into the output of Tomcat
			Throwable cause = t instanceof InvocationTargetException ? t.getCause() : t;
			System.setProperty(RESULT, "failed " + cause);
		}
	}

	/** Finds the protocol handlers of all connectors. */
	private void find() throws Exception {
		for (MBeanServer beans : MBeanServerFactory.findMBeanServer(null)) {
			for (ObjectName name : beans.queryNames(new ObjectName("*:type=Service"), null)) {
				Object service;
				try {
					service = beans.getAttribute(name, "managedResource");
				} catch (AttributeNotFoundException e) {
					continue; // a bean of an application
				}
				if (service == null || !has(service, "findConnectors")) {
					continue;
				}
				services.add(service);
				for (Object connector : (Object[]) call(service, "findConnectors")) {
					handlers.add(call(connector, "getProtocolHandler"));
				}
			}
		}
	}

	/**
	 * Closes the way for new connections. Tomcat has a pause for that, which also answers 503 to requests of connections that are open, and
	 * loses the connection that it accepts in that moment. A limit that is exceeded already lets the acceptor wait after the next connection.
	 */
	private void close() throws Exception {
		for (Object h : handlers) {
			if ((Integer) call(h, "getMaxConnections") == -1) { // nothing is counted, so count what is there, and more
				Object endpoint = call(h, "getEndpoint");
				set(h, "setMaxConnections", Integer.MAX_VALUE);
				for (int i = ((Collection<?>) call(endpoint, "getConnections")).size() + 100; i > 0; i--) {
					call(endpoint, "countUpOrAwaitConnection");
				}
			}
			set(h, "setMaxConnections", 0);
		}
		for (Object h : handlers) {
			wake(h);
		}
		for (Object h : handlers) {
			refuse(call(h, "getEndpoint"));
			if (has(h, "setMaxKeepAliveRequests")) { // AJP has none
				set(h, "setMaxKeepAliveRequests", 1);
			}
		}
	}

	/**
	 * Closes the socket on which the acceptor does not wait any more, so that clients are refused at once: those in its queue would be reset
	 * at the end. A socket that others hold too, and pass to the next Tomcat, stays open.
	 */
	private void refuse(Object endpoint) throws Exception {
		Object latch = field(endpoint, "connectionLimitLatch");
		for (int i = 0; latch == null || !(Boolean) call(latch, "hasQueuedThreads"); i++) {
			if (latch == null || i == 250) { // it is not started yet, or does not accept
				return;
			}
			Thread.sleep(1);
		}
		pretend(field(endpoint, "acceptor"));
		waiting.add(endpoint);
		if (!has(endpoint, "getUseInheritedChannel") || !(Boolean) call(endpoint, "getUseInheritedChannel")) {
			call(endpoint, "doCloseServerSocket");
		}
	}

	/** Makes an acceptor look paused, or Tomcat's own pause would connect to wake it and wait for that, for a second at most. */
	@SuppressWarnings({"unchecked", "rawtypes"})
	private static void pretend(Object acceptor) throws Exception {
		Field state = declared(acceptor, "state");
		state.set(acceptor, Enum.valueOf((Class<Enum>) state.getType(), "PAUSED"));
	}

	/**
	 * Pauses the endpoints whose acceptor waits for the limit. Tomcat's stop would release it before that, and it would take one more
	 * connection from the socket, and close it.
	 */
	private void pause() throws Exception {
		for (Object endpoint : waiting) {
			call(endpoint, "pause");
		}
	}

	/** Connects once, so that the acceptor does not wait for a client's connection any more. */
	private static void wake(Object handler) throws Exception {
		Object endpoint = call(handler, "getEndpoint");
		InetSocketAddress at = (InetSocketAddress) call(endpoint, "getLocalAddress");
		if (at == null) { // a unix socket, or it is not bound
			Object path = has(endpoint, "getUnixDomainSocketPath") ? call(endpoint, "getUnixDomainSocketPath") : null;
			if (path != null) {
				wake((String) path);
			}
			return;
		}
		InetAddress to = at.getAddress().isAnyLocalAddress() ? InetAddress.getLoopbackAddress() : at.getAddress();
		try (Socket s = new Socket()) {
			s.connect(new InetSocketAddress(to, at.getPort()), 100);
		} catch (java.io.IOException e) {
			// The queue is full: others wake it.
		}
	}

	/** Connects once to a unix socket, which is possible from Java 16 on. */
	private static void wake(String path) throws Exception {
		Object unix = Enum.valueOf(StandardProtocolFamily.class, "UNIX");
		Object address = Class.forName("java.net.UnixDomainSocketAddress").getMethod("of", String.class).invoke(null, path);
		try (SocketChannel s = (SocketChannel) SocketChannel.class.getMethod("open", ProtocolFamily.class).invoke(null, unix)) {
			s.configureBlocking(false);
			s.connect((SocketAddress) address);
		} catch (java.io.IOException e) {
			// The queue is full: others wake it.
		}
	}

	private void await(long from, long most) throws Exception {
		for (;;) {
			boolean paused = false;
			requests = 0;
			connections = 0;
			for (Object h : handlers) {
				Object endpoint = call(h, "getEndpoint");
				paused |= (Boolean) call(endpoint, "isPaused");
				Set<Object> busy = busy(call(endpoint, "getHandler"));
				for (Object c : (Iterable<?>) call(endpoint, "getConnections")) {
					connections++;
					requests += requests(call(c, "getCurrentProcessor"), busy);
				}
				requests += busy.size();
			}
			if (connections == 0) { // a thread may be about to leave its last request
				requests = 0;
			}
			long ran = (System.nanoTime() - from) / 1000000;
			if (connections == 0 || paused || ran >= most || requests == 0 && ran >= IDLE) {
				return;
			}
			Thread.sleep(EVERY);
		}
	}

	/** Has Tomcat's stop not wait for idle connections a second time (gracefulStopAwaitMillis); it still waits for requests that are left. */
	private void noSecondWait() throws Exception {
		for (Object s : services) {
			if (has(s, "setGracefulStopAwaitMillis")) { // Tomcats before 9.0.43 may not have it
				s.getClass().getMethod("setGracefulStopAwaitMillis", long.class).invoke(s, 0L);
			}
		}
	}

	/** Returns the infos of the requests that are being answered by a thread. */
	private static Set<Object> busy(Object handler) throws Exception {
		Set<Object> out = Collections.newSetFromMap(new IdentityHashMap<>());
		for (Object info : ((Collection<?>) field(call(handler, "getGlobal"), "processors")).toArray()) {
			int stage = info == null ? 0 : (Integer) call(info, "getStage");
			if (stage >= 1 && stage <= 5) { // from PARSE to ENDOUTPUT: see org.apache.coyote.Constants
				out.add(info);
			}
		}
		return out;
	}

	/**
	 * Counts the requests of a connection to which a processor belongs. That of an asynchronous request, or of one whose head is incomplete,
	 * is added to busy, which may have it. Those of HTTP/2 are refused from now on.
	 */
	private static long requests(Object processor, Set<Object> busy) throws Exception {
		if (processor == null) {
			return 0;
		}
		if (!(Boolean) call(processor, "isUpgrade")) {
			busy.add(call(call(processor, "getRequest"), "getRequestProcessor"));
			return 0;
		}
		Object handler = call(call(processor, "getUpgradeToken"), "getHttpUpgradeHandler");
		if (!handler.getClass().getName().contains(".http2.")) { // a websocket lasts for ever
			return 0;
		}
		call(handler, "pause"); // GOAWAY, once
		return ((Number) field(handler, "activeRemoteStreamCount")).longValue();
	}

	private static Object field(Object o, String name) throws Exception {
		return declared(o, name).get(o);
	}

	private static Field declared(Object o, String name) throws Exception {
		for (Class<?> c = o.getClass();; c = c.getSuperclass()) {
			try {
				Field f = c.getDeclaredField(name);
				f.setAccessible(true);
				return f;
			} catch (NoSuchFieldException e) {
				if (c == Object.class) {
					throw e;
				}
			}
		}
	}

	private static boolean has(Object o, String method) {
		for (Method m : o.getClass().getMethods()) {
			if (m.getName().equals(method)) {
				return true;
			}
		}
		return false;
	}

	private static void set(Object o, String method, int value) throws Exception {
		o.getClass().getMethod(method, int.class).invoke(o, value);
	}

	/** Calls a method without parameters, whatever its access is. */
	private static Object call(Object o, String method) throws Exception {
		if (o == null) {
			throw new NullPointerException("nothing has " + method);
		}
		for (Class<?> c = o.getClass(); c != null; c = c.getSuperclass()) {
			try {
				Method m = c.getDeclaredMethod(method);
				m.setAccessible(true);
				return m.invoke(o);
			} catch (NoSuchMethodException e) {
				// That of a superclass.
			}
		}
		throw new NoSuchMethodException(o.getClass().getName() + "." + method);
	}
}
