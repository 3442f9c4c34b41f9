package predict

import (
	"math"
)

// The nodes and weights of Gauss and Legendre's rule of 16 points on [0, 1]: those of [-1, 1]
// in Abramowitz and Stegun, "Handbook of Mathematical Functions", table 25.4.
var (
	nodes16, weights16 = onUnit(
		[8]float64{0.0950125098376374402, 0.281603550779258913, 0.458016777657227386, 0.617876244402643748, 0.755404408355003034, 0.865631202387831744, 0.944575023073232576, 0.989400934991649933},
		[8]float64{0.189450610455068496, 0.182603415044923589, 0.169156519395002538, 0.149595988816576732, 0.124628971255533872, 0.0951585116824927848, 0.0622535239386478929, 0.0271524594117540949})
)

func onUnit(x, w [8]float64) (nodes, weights [16]float64) {
	for i := range x {
		nodes[2*i], nodes[2*i+1] = (1-x[i])/2, (1+x[i])/2
		weights[2*i], weights[2*i+1] = w[i]/2, w[i]/2
	}
	return nodes, weights
}

// integrate is the integral over the whole line of exp(f), which must rise to one summit and
// fall off at least exponentially on both sides (f may be -Inf, never +Inf). The trapezoid rule
// converges exponentially on such functions (Trefethen and Weideman, "The Exponentially
// Convergent Trapezoidal Rule", SIAM Review 56(3), 2014); the substitution y = summit + sinh(v)
// reaches far tails in few steps.
func integrate(f func(float64) float64) float64 {
	// The summit, by golden sections on a bracket found by doubling.
	top, best := 0.0, f(0)
	for step := 1.0; step < 1e5; step *= 2 {
		for _, y := range []float64{-step, step} {
			if v := f(y); v > best {
				top, best = y, v
			}
		}
	}
	lo, hi := top-max(1, math.Abs(top)), top+max(1, math.Abs(top))
	const golden = 0.6180339887498949
	for range 60 {
		a, b := hi-golden*(hi-lo), lo+golden*(hi-lo)
		if f(a) >= f(b) {
			hi = b
		} else {
			lo = a
		}
	}
	if y := (lo + hi) / 2; f(y) > best {
		top, best = y, f(y)
	}
	if math.IsInf(best, -1) {
		return 0
	}
	// The width of the summit sets the scale.
	width := 1.0
	for range 40 {
		if min(f(top-width), f(top+width)) > best-1 {
			break
		}
		width /= 2
	}
	sum := func(h float64) float64 {
		total := math.Exp(f(top) - best)
		for _, sign := range []float64{-1, 1} {
			for v := h; v < 20; v += h {
				add := math.Exp(f(top+sign*width*math.Sinh(v))-best) * math.Cosh(v)
				total += add
				if add < 1e-18*total {
					break
				}
			}
		}
		return total * h * width
	}
	h := 0.25
	value := sum(h)
	for range 6 {
		h /= 2
		finer := sum(h)
		if math.Abs(finer-value) <= 1e-13*finer {
			value = finer
			break
		}
		value = finer
	}
	return value * math.Exp(best)
}
