import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * Takes memory of every kind and keeps it, in the order of its arguments, and ends with code 0:
 * classes=MIB of metaspace, direct=MIB of buffers, heap=MIB of live objects, garbage=MIB of dead
 * ones, threads=NxDEPTH calls deep. Any error ends it with code 3.
 */
public class Fill {
  static final int MIB = 1 << 20, PIECE = 64 << 10, CODE = 60000;
  static final List<Object> kept = new ArrayList<>();

  public static void main(String[] args) {
    Thread.setDefaultUncaughtExceptionHandler((thread, e) -> die(e));
    try {
      for (String arg : args) {
        String[] words = arg.split("[=x]");
        int n = Integer.parseInt(words[1]);
        switch (words[0]) {
          case "classes": classes(n); break;
          case "direct": for (int k = 0; k < n; k++) kept.add(ByteBuffer.allocateDirect(MIB)); break;
          case "heap": for (int k = 0; k < n * (MIB / PIECE); k++) kept.add(piece()); break;
          case "garbage": garbage(n); break;
          case "threads": threads(n, Integer.parseInt(words[2])); break;
          default: throw new IllegalArgumentException(arg);
        }
      }
    } catch (Throwable e) {
      die(e);
    }
    System.out.println("lived through it: " + kept.size());
    System.exit(0);
  }

  static void die(Throwable e) {
    System.out.println("died: " + e);
    Runtime.getRuntime().halt(3);
  }

  /** 16 bytes are an array's header: the pieces fill a region of G1 to its end. */
  static byte[] piece() { return new byte[PIECE - 16]; }

  static void garbage(int mib) {
    Object[] recent = new Object[16];
    for (int k = 0; k < mib * (MIB / PIECE); k++) recent[k % recent.length] = piece();
    kept.add(recent);
  }

  static class Loader extends ClassLoader {
    void define(String name, byte[] code) { kept.add(defineClass(name, code, 0, code.length)); }
  }

  /** A class takes a 16th of a MiB: the code of its one method, which is never run. */
  static void classes(int mib) throws IOException {
    Loader loader = new Loader();
    for (int k = 0; k < 16 * mib; k++) loader.define("Class" + k, code("Class" + k));
  }

  static byte[] code(String name) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    out.writeInt(0xCAFEBABE);
    out.writeInt(52);
    String[] names = {name, "java/lang/Object", "run", "()V", "Code"};
    out.writeShort(names.length + 3); // constants, from 1 on
    for (String text : names) {
      out.writeByte(1);
      out.writeUTF(text);
    }
    for (int of = 1; of <= 2; of++) { // 6 and 7: this class and Object
      out.writeByte(7);
      out.writeShort(of);
    }
    for (int n : new int[] {1, 6, 7, 0, 0, 1, 9, 3, 4, 1, 5}) out.writeShort(n); // a public static method with one attribute
    out.writeInt(CODE + 12);
    out.writeInt(0); // no stack, no locals
    out.writeInt(CODE);
    byte[] nothing = new byte[CODE];
    nothing[CODE - 1] = (byte) 177; // return
    out.write(nothing);
    out.writeInt(0);
    out.writeShort(0);
    return bytes.toByteArray();
  }

  static int deep(int depth) { return depth == 0 ? 0 : 1 + deep(depth - 1); }

  /** The threads live as long as the JVM does. */
  static void threads(int n, int depth) throws InterruptedException {
    CountDownLatch deepened = new CountDownLatch(n);
    for (int k = 0; k < n; k++) {
      Thread thread = new Thread(() -> {
        deep(depth);
        deepened.countDown();
        try {
          new CountDownLatch(1).await();
        } catch (InterruptedException end) {
          // never
        }
      });
      thread.setDaemon(true);
      thread.start();
    }
    deepened.await();
  }
}
