/** Runs until it is stopped. */
public class Idle {
    public static void main(String[] args) throws InterruptedException {
        Thread.currentThread().join();
    }
}
