import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/** Loads and links classes of every jar on the class path, as a large application does when it starts. */
public class Heavy implements ServletContextListener {
    private static final int CLASSES = 40; // of each jar

    @Override
    public void contextInitialized(ServletContextEvent event) {
        int loaded = 0;
        for (String path : System.getProperty("heavy.jars").split(":")) {
            int left = CLASSES;
            try (JarFile jar = new JarFile(path)) {
                for (JarEntry entry : (Iterable<JarEntry>) jar.stream()::iterator) {
                    String name = entry.getName();
                    if (left == 0) {
                        break;
                    }
                    if (!name.endsWith(".class") || name.contains("-") || name.startsWith("META-INF")) {
                        continue;
                    }
                    left--;
                    try {
                        String type = name.substring(0, name.length() - ".class".length()).replace('/', '.');
                        Class.forName(type, false, ClassLoader.getSystemClassLoader()).getDeclaredMethods(); // links it
                        loaded++;
                    } catch (LinkageError | ClassNotFoundException e) {
                        // needs a library that is not there
                    }
                }
            } catch (java.io.IOException e) {
                throw new IllegalStateException(path, e);
            }
        }
        event.getServletContext().log("heavy: " + loaded + " classes");
    }
}
