package segment

import "math"

// yeoJohnson is the power transformation of Yeo and Johnson (Biometrika 87, 2000, equation 2.1).
func yeoJohnson(x, lambda float64) float64 {
	if x >= 0 {
		if lambda == 0 {
			return math.Log1p(x)
		}
		return math.Expm1(lambda*math.Log1p(x)) / lambda
	}
	if lambda == 2 {
		return -math.Log1p(-x)
	}
	return -math.Expm1((2-lambda)*math.Log1p(-x)) / (2 - lambda)
}

// unYeoJohnson is the inverse. A value beyond the transformation's range comes back as the
// infinity it tends to.
func unYeoJohnson(y, lambda float64) float64 {
	if y >= 0 {
		if lambda == 0 {
			return math.Expm1(y)
		}
		if lambda*y <= -1 {
			return math.Inf(1)
		}
		return math.Expm1(math.Log1p(lambda*y) / lambda)
	}
	if lambda == 2 {
		return -math.Expm1(-y)
	}
	if (2-lambda)*-y <= -1 {
		return math.Inf(-1)
	}
	return -math.Expm1(math.Log1p((2-lambda)*-y) / (2 - lambda))
}

// The range in which a power is looked for, and how many values it is looked for with: beyond
// them every so-manieth of the sorted values stands for its neighbours.
const (
	leastLambda, greatestLambda = -3, 5
	lambdaValues                = 20_000
)

// likeliestLambda is the power of greatest profile likelihood (Yeo and Johnson, equation 3.1)
// for sorted values, found by golden section.
func likeliestLambda(sorted []float64) float64 {
	if n := len(sorted); n > lambdaValues {
		few := make([]float64, lambdaValues)
		for i := range few {
			few[i] = sorted[int((float64(i)+0.5)/lambdaValues*float64(n))]
		}
		sorted = few
	}
	slope := 0.0
	for _, v := range sorted {
		slope += math.Copysign(math.Log1p(math.Abs(v)), v)
	}
	bent := make([]float64, len(sorted))
	likelihood := func(lambda float64) float64 {
		for i, v := range sorted {
			bent[i] = yeoJohnson(v, lambda)
		}
		sd := deviation(bent)
		if !(sd > 0) || math.IsInf(sd, 1) {
			return math.Inf(-1)
		}
		return -float64(len(bent))*math.Log(sd) + (lambda-1)*slope
	}
	ratio := (math.Sqrt(5) - 1) / 2
	low, high := float64(leastLambda), float64(greatestLambda)
	a, b := high-ratio*(high-low), low+ratio*(high-low)
	atA, atB := likelihood(a), likelihood(b)
	for high-low > 1e-6 {
		if atA >= atB {
			high, b, atB = b, a, atA
			a = high - ratio*(high-low)
			atA = likelihood(a)
		} else {
			low, a, atA = a, b, atB
			b = low + ratio*(high-low)
			atB = likelihood(b)
		}
	}
	return (low + high) / 2
}
