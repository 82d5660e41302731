import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Paths;

/** Answers a line with the name of its socket, stdin, and its pid. At TERM it ends between two requests. */
public class Inherited {
    public static void main(String[] args) throws Exception {
        ServerSocketChannel server = (ServerSocketChannel) System.inheritedChannel();
        server.configureBlocking(false);
        Object request = new Object();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            synchronized (request) {
                Runtime.getRuntime().halt(0);
            }
        }));
        byte[] answer = (System.getenv("LISTEN_FDNAMES") + " " + System.getenv("LISTEN_PID") + "\n").getBytes();
        Files.write(Paths.get(args[0]), answer);
        for (;; Thread.sleep(1)) {
            synchronized (request) {
                for (SocketChannel client; (client = server.accept()) != null; client.close()) {
                    if (client.read(ByteBuffer.allocate(100)) > 0) {
                        client.write(ByteBuffer.wrap(answer));
                    }
                }
            }
        }
    }
}
