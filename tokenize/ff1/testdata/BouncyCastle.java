import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.bouncycastle.crypto.fpe.FPEEngine;
import org.bouncycastle.crypto.fpe.FPEFF1Engine;
import org.bouncycastle.crypto.params.FPEParameters;
import org.bouncycastle.crypto.params.KeyParameter;

/**
 * Encrypts lines of radix, key, tweak and numerals with Bouncy Castle's FF1. Key and tweak are
 * hexadecimal with a leading x; so are the numerals, a byte each up to radix 256, else two.
 */
class BouncyCastle {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        HexFormat hex = HexFormat.of();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] f = line.split(" ");
            byte[] key = hex.parseHex(f[1].substring(1));
            byte[] tweak = hex.parseHex(f[2].substring(1));
            byte[] numerals = hex.parseHex(f[3].substring(1));
            FPEEngine engine = new FPEFF1Engine();
            engine.init(true, new FPEParameters(new KeyParameter(key), Integer.parseInt(f[0]), tweak));
            byte[] out = new byte[numerals.length];
            engine.processBlock(numerals, 0, numerals.length, out, 0);
            System.out.println(hex.formatHex(out));
        }
    }
}
