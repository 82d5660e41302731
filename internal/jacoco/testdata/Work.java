/** Does for each line of its input what it says, so that some of it is covered. */
public class Work {
    public static void main(String[] args) throws Exception {
        var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = in.readLine()) != null;) {
            if (line.equals("left")) {
                Left.go();
            } else if (line.equals("right")) {
                Right.go();
            }
            System.out.println("did " + line);
        }
    }

    static class Left {
        static int n;

        static void go() {
            n++;
        }
    }

    static class Right {
        static int n;

        static void go() {
            if (n++ > 1000) {
                n = 0;
            }
        }
    }
}
